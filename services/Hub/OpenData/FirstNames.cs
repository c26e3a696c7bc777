using System.ComponentModel;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.ServiceDefaults;
using Intercommunalite.ServiceDefaults.Access;
using Npgsql;

namespace Intercommunalite.Hub.OpenData;

/// <summary>The first names of new-borns, in the SCDL schema "prénoms des nouveau-nés" (schema.data.gouv.fr, v1.1.6).</summary>
internal static class FirstNames
{
    // The room's name of civil-record figures: their position is that of the acts read here.
    private const string Projection = "civil-records";

    private static readonly string[] s_columns = ["COMMUNE_NOM", "COLL_INSEE", "ENFANT_SEXE", "ENFANT_PRENOM", "NOMBRE_OCCURRENCES", "ANNEE"];

    // COMMUNE_NOM of the schema.
    private static readonly Regex s_communeName = new(
        @"^(Le |La |Les |Los |Aux |L'|)([A-ZÉÇŒÈÎ])(((-| | - |')[A-ZÉÇŒÈÎ])|('|-| |)[a-zàâéèêëïîÿôûüœç])*( \([A-Z][a-z]*\)|)\z",
        RegexOptions.NonBacktracking | RegexOptions.CultureInvariant);

    // Each act once, as the figures count it. Its child is the one that the last event with persons names, correction or not; where
    // that one is no longer held, an earlier one is not asked, since what it says was corrected. One statement, so one snapshot.
    // OFFSET 0: by the streams of these acts, whatever the planner thinks of positions in a table that has just grown.
    private static readonly string s_sql = $$"""
        WITH at AS MATERIALIZED (SELECT {{HubPosition.Sql(Projection)}} AS position),
        act AS (
            SELECT act.commune, said.event_id, said.simulated
            FROM at CROSS JOIN civil_records.act CROSS JOIN LATERAL (
                SELECT bool_or(event.headers ->> 'source' LIKE '%:{{EventSource.Simulated}}') AS simulated,
                    (array_agg(event.id ORDER BY event.seq_id DESC) FILTER (
                        WHERE (event.headers -> '{{EventHeaders.Personal}}')::boolean OR EXISTS (SELECT FROM privacy.personal_data held WHERE held.event_id = event.id)))[1] AS event_id
                FROM (SELECT * FROM hub.mt_events WHERE stream_id = act.commune || '/civil-records/' || act.subject OFFSET 0) event
                WHERE event.seq_id <= at.position
                    AND (event.type = '{{Name<BirthRegistered>()}}' OR (event.type = '{{Name<ActCorrected>()}}' AND event.data ->> 'kind' = 'birth'))
            ) AS said
            WHERE act.kind = '{{nameof(ActKind.Birth)}}' AND NOT act.annulled AND left(act.period, 4) = $1 AND act.commune = ANY($2))
        SELECT at.position, act.commune, act.simulated, person.event_id, person.path, person.person, person.type, person.keep_until, person.sealed
        FROM at LEFT JOIN act ON true
        LEFT JOIN privacy.personal_data person ON person.event_id = act.event_id AND person.path IN ('child', 'persons.0') AND person.keep_until > $3
        """;

    public static void Map(IEndpointRouteBuilder api) => api.MapGet("open-data/first-names", QueryAsync)
        .RequireAuthorization(Rules.PublishOpenData)
        .WithName("OpenDataFirstNames")
        .WithSummary("First names of new-borns by commune of registration and sex, as open data: CSV in the SCDL schema \"prénoms des nouveau-nés\"")
        .WithDescription("""
            Counts the first of a child's first names, by the year of birth; corrected acts as corrected, annulled ones not. Rows with
            fewer occurrences than the threshold are left out, since a rare name, its commune and its year may single out a child.
            What is not in the rows is told in headers, as numbers of births: X-Left-Out-Below-Threshold; X-Left-Out-Not-Expressible
            (the schema writes French letters only); X-Left-Out-Not-Held (the name may be kept no longer, or never came);
            X-Left-Out-Incomplete (no first name or no sex); X-Left-Out-Simulated (births that never were). Of a commune, the second
            to the fourth are told only from the threshold on; fewer are among those below the threshold. X-Min-Occurrences is the
            threshold that was applied.
            """);

    private static async Task<IResult> QueryAsync(
        HttpContext context,
        Epci territory,
        NpgsqlDataSource database,
        TimeProvider time,
        OpenDataOptions options,
        PersonalDataStore personalData,
        AuditLog audit,
        [Description("Year of birth, YYYY; required")] string? year = null,
        [Description("INSEE code of the commune of registration; all of the territory without it")] string? commune = null,
        [Description("Fewest occurrences of a row: OpenData:MinOccurrences (default) or more")] int? threshold = null,
        [Description("true: a file of simulated births alone, to try the export out. They are never among real ones")] bool simulated = false,
        [Description("Position that the figures must have seen")] long? minPosition = null)
    {
        if (!PartialDate.TryParse(year, out var born) || born.Month is not null) return Query.Problem("year", "a year YYYY expected");
        if (Query.Check(null, null, commune, territory, out var problem) is false) return problem!;
        if (Rules.OfOwnCommuneOnly(Caller.Of(context.User), commune) is { } forbidden) return forbidden;
        if (threshold < options.MinOccurrences)
            return Query.Problem("threshold", $"{options.MinOccurrences} or more expected. A name that occurs less often may single out a child; only the setting OpenData:MinOccurrences can allow it");
        if (await HubPosition.TooEarlyAsync(context, Projection, minPosition) is { } early) return early;

        var least = threshold ?? options.MinOccurrences;
        var (position, births, others) = await ReadAsync(database, born, Query.Communes(commune, territory), simulated, time.GetUtcNow(), personalData, context.RequestAborted);
        await audit.AppendAsync(
            new(Caller.Of(context.User).Id, "open-data.first-names", commune ?? territory.Siren, "names of new-borns, counted to be published", new JsonObject { ["year"] = born.ToString(), ["births"] = births.Sum(birth => birth.Count) }),
            context.RequestAborted);
        var (rows, leftOut) = FirstNameCounts.Count(births, least);
        HubPosition.Say(context, position);
        Say("X-Min-Occurrences", least);
        Say("X-Left-Out-Below-Threshold", leftOut.BelowThreshold);
        Say("X-Left-Out-Not-Expressible", leftOut.NotExpressible);
        Say("X-Left-Out-Not-Held", leftOut.NotHeld);
        Say("X-Left-Out-Incomplete", leftOut.Incomplete);
        if (!simulated) Say("X-Left-Out-Simulated", others);
        return await FileAsync(rows, born, territory, commune, simulated, context.RequestAborted);

        void Say(string header, long number) => context.Response.Headers[header] = number.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>The births of a year, those asked for; and how many there are of the others, simulated or real.</summary>
    private static async Task<(long Position, IReadOnlyList<Births> Births, long Others)> ReadAsync(
        NpgsqlDataSource database, PartialDate year, string[] communes, bool simulated, DateTimeOffset now, PersonalDataStore personalData, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand(s_sql);
        command.Parameters.Add(new() { Value = year.ToString() });
        command.Parameters.Add(new() { Value = communes });
        command.Parameters.Add(new() { Value = now.ToUniversalTime() });
        var (position, births, rows, others) = (0L, new List<Births>(), new List<PersonalRow>(), 0L);
        await using (var reader = await command.ExecuteReaderAsync(cancellation))
        {
            while (await reader.ReadAsync(cancellation))
            {
                position = reader.GetInt64(0);
                if (reader.IsDBNull(1)) continue;
                var commune = reader.GetString(1);
                if (reader.GetBoolean(2) != simulated) others++;
                else if (reader.IsDBNull(3)) births.Add(new(commune, Held: false, null, null, 1));
                else
                {
                    rows.Add(new(
                        reader.GetGuid(3), reader.GetString(4), reader.GetGuid(5), commune, reader.GetString(6), reader.GetFieldValue<DateTimeOffset>(7), reader.GetFieldValue<byte[]>(8)));
                }
            }
        }

        var open = await personalData.OpenAsync(rows, cancellation);
        foreach (var row in open)
        {
            var child = JsonSerializer.Deserialize<Person>(row.Content, ContractJson.Options)!;
            births.Add(new(row.Commune, Held: true, child.Sex, child.FirstNames, 1));
        }

        // Forgotten meanwhile.
        births.AddRange(rows.ExceptBy(open.Select(row => row.EventId), row => row.EventId).Select(row => new Births(row.Commune, Held: false, null, null, 1)));
        return (position, births, others);
    }

    // A spreadsheet is not the first reader of this file: the schema wants commas and no byte order mark.
    private static async Task<IResult> FileAsync(
        IReadOnlyList<FirstNameCount> rows, PartialDate year, Epci territory, string? commune, bool simulated, CancellationToken cancellation)
    {
        using var file = new MemoryStream();
        await using (var csv = new SpreadsheetCsv(file, ',', withMark: false))
        {
            await csv.RowAsync(s_columns, cancellation);
            foreach (var row in rows)
            {
                var name = territory.Member(CommuneCode.Parse(row.Commune))?.Name ?? "";
                csv.Text(s_communeName.IsMatch(name) ? name : "").Text(row.Commune).Text($"{row.Sex}").Text(row.Name).Number(row.Count).Text(year.ToString());
                await csv.EndRowAsync(cancellation);
            }
        }

        var what = simulated ? "prenoms-nouveau-nes-SIMULATION" : "prenoms-nouveau-nes";
        return TypedResults.File(file.ToArray(), SpreadsheetCsv.MediaType, $"{FigureFile.NameOf(what, territory, commune, year.ToString())}.csv");
    }

    private static string Name<TRecord>() => Catalogue.All.Single(type => type.Record == typeof(TRecord)).Name;
}
