using System.Reflection;
using Microsoft.AspNetCore.DataProtection.EntityFrameworkCore;
using Microsoft.AspNetCore.Identity.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Migrations;
using Npgsql;

namespace Intercommunalite.Hub.Access;

/// <summary>
/// Who may come in: clients (OpenIddict), accounts (ASP.NET Core Identity), and the keys that protect cookies, so that every node reads
/// those of the others. Schema <c>access</c> of the hub's database.
/// </summary>
internal sealed class AccessDatabase(DbContextOptions<AccessDatabase> options) : IdentityUserContext<Account>(options)
{
    /// <summary>Name of the schema.</summary>
    public const string Schema = "access";

    /// <summary>Whether the last migration has been applied: asked without the model, which takes a start longer to build than all else.</summary>
    public static async Task<bool> IsCurrentAsync(NpgsqlDataSource database, CancellationToken cancellation)
    {
        var last = typeof(AccessDatabase).Assembly.GetTypes().Select(type => type.GetCustomAttribute<MigrationAttribute>()?.Id).Max(StringComparer.Ordinal);
        await using var known = database.CreateCommand("SELECT to_regclass('access.migrations')::text");
        if (await known.ExecuteScalarAsync(cancellation) is not string) return false;
        await using var applied = database.CreateCommand("""SELECT EXISTS (SELECT FROM access.migrations WHERE "MigrationId" = $1)""");
        applied.Parameters.Add(new() { Value = last! });
        return (bool)(await applied.ExecuteScalarAsync(cancellation))!;
    }

    /// <summary>Here for the migrations, which make the table: <see cref="SignIn.KeyRing"/> reads and writes it without the model.</summary>
    public DbSet<DataProtectionKey> DataProtectionKeys => Set<DataProtectionKey>();

    protected override void OnModelCreating(ModelBuilder builder)
    {
        base.OnModelCreating(builder);
        builder.HasDefaultSchema(Schema);
        builder.UseOpenIddict();
        // Lockout alone counts, by statements of its own: whoever saves an account that was read before does not set them back.
        builder.Entity<Account>().Property(account => account.AccessFailedCount).Metadata.SetAfterSaveBehavior(PropertySaveBehavior.Ignore);
        builder.Entity<Account>().Property(account => account.LockoutEnd).Metadata.SetAfterSaveBehavior(PropertySaveBehavior.Ignore);
    }
}
