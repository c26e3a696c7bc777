using Microsoft.AspNetCore.DataProtection.EntityFrameworkCore;
using Microsoft.AspNetCore.Identity.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore;

namespace Intercommunalite.Hub.Access;

/// <summary>
/// Who may come in: clients (OpenIddict), accounts (ASP.NET Core Identity), and the keys that protect cookies, so that every node reads
/// those of the others. Schema <c>access</c> of the hub's database.
/// </summary>
internal sealed class AccessDatabase(DbContextOptions<AccessDatabase> options) : IdentityUserContext<Account>(options), IDataProtectionKeyContext
{
    /// <summary>Name of the schema.</summary>
    public const string Schema = "access";

    /// <inheritdoc/>
    public DbSet<DataProtectionKey> DataProtectionKeys => Set<DataProtectionKey>();

    protected override void OnModelCreating(ModelBuilder builder)
    {
        base.OnModelCreating(builder);
        builder.HasDefaultSchema(Schema);
        builder.UseOpenIddict();
    }
}
