using System.Xml.Linq;
using Microsoft.AspNetCore.DataProtection.Repositories;
using Npgsql;

namespace Intercommunalite.Hub.Access.SignIn;

/// <summary>
/// The keys that protect cookies, for all nodes, in the table that the migrations make. They are asked for at every start: by plain SQL,
/// since the model of Entity Framework would take a third of it to build.
/// </summary>
internal sealed class KeyRing(NpgsqlDataSource database) : IXmlRepository
{
    /// <inheritdoc/>
    public IReadOnlyCollection<XElement> GetAllElements()
    {
        using var command = database.CreateCommand("""SELECT "Xml" FROM access."DataProtectionKeys" ORDER BY "Id" """);
        using var rows = command.ExecuteReader();
        var elements = new List<XElement>();
        while (rows.Read()) elements.Add(XElement.Parse(rows.GetString(0)));
        return elements;
    }

    /// <inheritdoc/>
    public void StoreElement(XElement element, string friendlyName)
    {
        using var command = database.CreateCommand("""INSERT INTO access."DataProtectionKeys" ("FriendlyName", "Xml") VALUES ($1, $2)""");
        command.Parameters.Add(new() { Value = friendlyName });
        command.Parameters.Add(new() { Value = element.ToString(SaveOptions.DisableFormatting) });
        command.ExecuteNonQuery();
    }
}
