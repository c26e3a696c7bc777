using Npgsql;

namespace Intercommunalite.Hub.Privacy;

/// <summary>Reads ids of persons, keys and events.</summary>
internal static class Ids
{
    /// <summary>What a query answers in its first column.</summary>
    public static async Task<IReadOnlyList<Guid>> ReadIdsAsync(this NpgsqlCommand command, CancellationToken cancellation)
    {
        var ids = new List<Guid>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) ids.Add(reader.GetGuid(0));
        return ids;
    }
}
