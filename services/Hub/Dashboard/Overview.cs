using System.Globalization;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.EventStore;
using Npgsql;

namespace Intercommunalite.Hub.Dashboard;

/// <summary>What the first page counts, for a commune, a month or the whole territory; money in euro cents.</summary>
/// <param name="Births">Births, by commune of registration.</param>
/// <param name="Deaths">Deaths, by commune of registration.</param>
/// <param name="Marriages">Marriages.</param>
/// <param name="Pupils">Pupils of the commune's schools this school year; none by month.</param>
/// <param name="PupilsOutside">Those who live in another commune.</param>
/// <param name="Issued">Issued.</param>
/// <param name="Collected">Collected.</param>
/// <param name="Outstanding">Still owed, as of now, of what was issued in the months counted.</param>
public readonly record struct Figures(
    long Births, long Deaths, long Marriages, long Pupils, long PupilsOutside, long Issued, long Collected, long Outstanding)
{
    /// <summary>Adds figures up.</summary>
    public static Figures Sum(IEnumerable<Figures> figures) => figures.Aggregate(default(Figures), (sum, more) => new(
        sum.Births + more.Births, sum.Deaths + more.Deaths, sum.Marriages + more.Marriages,
        sum.Pupils + more.Pupils, sum.PupilsOutside + more.PupilsOutside,
        sum.Issued + more.Issued, sum.Collected + more.Collected, sum.Outstanding + more.Outstanding));
}

/// <summary>A commune and its figures.</summary>
public sealed record CommuneFigures(Commune Commune, Figures Figures);

/// <summary>A month, <c>YYYY-MM</c>, and the territory's figures in it.</summary>
public sealed record MonthFigures(string Month, Figures Figures);

/// <summary>The territory at a glance: the last twelve months, the present one included, and the present school year.</summary>
/// <param name="Position">Every event up to here is counted.</param>
/// <param name="HighWater">Every event up to here is in the store; 0 when none was ever received.</param>
/// <param name="Communes">All communes of the territory, by name.</param>
/// <param name="Months">Twelve months, the oldest first.</param>
/// <param name="SchoolYear">School year that the pupils are of.</param>
public sealed record Overview(
    long Position, long HighWater, IReadOnlyList<CommuneFigures> Communes, IReadOnlyList<MonthFigures> Months, SchoolYear SchoolYear)
{
    // Whoever adds figures of another room adds its projection, so that the position stays true.
    private static readonly string[] s_projections = ["civil-records", "schools", "payments"];

    // One statement, so one snapshot: figures and position agree. A date whose month is unknown is in none of the months.
    private static readonly string s_sql = $"""
        WITH cell AS (
            SELECT commune, period, births, deaths, marriages, 0 AS pupils, 0 AS outside, 0 AS issued, 0 AS collected, 0 AS outstanding
            FROM civil_records.indicator WHERE basis = 'registration' AND commune = ANY($1) AND period = ANY($2)
            UNION ALL
            SELECT commune, period, 0, 0, 0, 0, 0, issued, collected, outstanding
            FROM payments.summary WHERE commune = ANY($1) AND period = ANY($2)
            UNION ALL
            SELECT commune, NULL, 0, 0, 0, pupils, CASE WHEN residence <> commune THEN pupils ELSE 0 END, 0, 0, 0
            FROM schools.roll WHERE commune = ANY($1) AND school_year = $3),
        figure AS (
            SELECT commune, period, sum(births)::bigint, sum(deaths)::bigint, sum(marriages)::bigint, sum(pupils)::bigint,
                sum(outside)::bigint, sum(issued)::bigint, sum(collected)::bigint, sum(outstanding)::bigint
            FROM cell GROUP BY commune, period)
        SELECT at.position, at.high_water, figure.* FROM (
            SELECT least({string.Join(", ", s_projections.Select(HubPosition.Sql))}) AS position,
                {Positions.End} AS high_water) AS at
        LEFT JOIN figure ON true
        """;

    /// <summary>The whole territory.</summary>
    public Figures Total { get; } = Figures.Sum(Communes.Select(row => row.Figures));

    /// <summary>Reads it from the rooms' figures.</summary>
    /// <param name="database">The hub's database.</param>
    /// <param name="territory">The communes to count.</param>
    /// <param name="today">Day in the last of the months.</param>
    /// <param name="cancellation">Gives up.</param>
    internal static async Task<Overview> ReadAsync(NpgsqlDataSource database, Epci territory, DateOnly today, CancellationToken cancellation)
    {
        var months = Enumerable.Range(-11, 12).Select(ago => today.AddMonths(ago).ToString("yyyy-MM", CultureInfo.InvariantCulture)).ToArray();
        var schoolYear = SchoolYear.At(today);
        await using var command = database.CreateCommand(s_sql);
        command.Parameters.Add(new NpgsqlParameter { Value = territory.Communes.Select(commune => commune.Code.ToString()).ToArray() });
        command.Parameters.Add(new NpgsqlParameter { Value = months });
        command.Parameters.Add(new NpgsqlParameter { Value = schoolYear.Start });
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        var (position, highWater) = (0L, 0L);
        var cells = new List<(string Commune, string? Month, Figures Figures)>();
        while (await reader.ReadAsync(cancellation))
        {
            (position, highWater) = (reader.GetInt64(0), reader.GetInt64(1));
            if (!reader.IsDBNull(2)) cells.Add((reader.GetString(2), reader.IsDBNull(3) ? null : reader.GetString(3), FiguresOf(reader, 4)));
        }

        var byCommune = cells.ToLookup(cell => cell.Commune, cell => cell.Figures);
        var byMonth = cells.ToLookup(cell => cell.Month, cell => cell.Figures);
        return new Overview(
            position,
            highWater,
            [.. territory.Communes
                .OrderBy(commune => commune.Name, StringComparer.Create(French.Culture, ignoreCase: true))
                .Select(commune => new CommuneFigures(commune, Figures.Sum(byCommune[commune.Code.ToString()])))],
            [.. months.Select(month => new MonthFigures(month, Figures.Sum(byMonth[month])))],
            schoolYear);
    }

    private static Figures FiguresOf(NpgsqlDataReader reader, int first) => new(
        reader.GetInt64(first), reader.GetInt64(first + 1), reader.GetInt64(first + 2), reader.GetInt64(first + 3),
        reader.GetInt64(first + 4), reader.GetInt64(first + 5), reader.GetInt64(first + 6), reader.GetInt64(first + 7));
}
