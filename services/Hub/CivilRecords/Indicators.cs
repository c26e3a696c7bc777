using System.ComponentModel;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.EventStore;
using Npgsql;

namespace Intercommunalite.Hub.CivilRecords;

/// <summary>The civil-record indicators, for dashboards and statistics.</summary>
internal static class Indicators
{
    public static void Map(IEndpointRouteBuilder api) => api.MapGet("civil-records/indicators", QueryAsync)
        .RequireAuthorization(Rules.ReadFigures)
        .WithName("CivilRecordIndicators")
        .WithSummary("Births, recognitions, marriages, PACS, deaths and changes of name of the territory's communes");

    private static async Task<IResult> QueryAsync(
        HttpContext context,
        Epci territory,
        [AsParameters] AnswerForm form,
        [Description("First month, YYYY-MM")] string? from = null,
        [Description("Last month, YYYY-MM")] string? to = null,
        [Description("INSEE code of a commune")] string? commune = null,
        [Description("month (default), year or commune")] string by = "month",
        [Description("registration (default) or residence")] string basis = IndicatorsProjection.Registration,
        [Description("Position that the figures must have seen")] long? minPosition = null)
    {
        if (Query.Check(from, to, commune, territory, out var problem) is false) return problem!;
        if (basis is not (IndicatorsProjection.Registration or IndicatorsProjection.Residence))
            return Query.Problem("basis", "registration or residence expected");
        string? period = by switch { "month" => "period", "year" => "left(period, 4)", "commune" => "NULL::text", _ => null };
        if (period is null) return Query.Problem("by", "month, year or commune expected");

        // A date whose month is unknown counts under its year alone, and in a range that holds the whole year.
        return await HubPosition.AnswerAsync(context, IndicatorsProjection.ProjectionName, minPosition, form, File(territory, commune, basis, from, to), version => $$"""
            SELECT json_build_object('commune', commune, 'period', {{period}}, 'births', sum(births), 'recognitions', sum(recognitions),
                'marriages', sum(marriages), 'pacs', sum(pacs), 'deaths', sum(deaths), 'nameChanges', sum(name_changes))
            FROM {{version.Of(IndicatorsProjection.Indicators.Name)}}
            WHERE basis = $1 AND commune = ANY($2)
                AND ($3::text IS NULL OR rpad(period, 7, '-01') >= $3) AND ($4::text IS NULL OR rpad(period, 7, '-12') <= $4)
            GROUP BY commune, {{period}}
            HAVING sum(births + recognitions + marriages + pacs + deaths + name_changes) <> 0
            ORDER BY commune, {{period}}
            """,
            new NpgsqlParameter { Value = basis },
            new NpgsqlParameter { Value = Query.Communes(commune, territory) },
            Query.Text(from),
            Query.Text(to));
    }

    // Which commune an act counts in is said twice, in the title and in the file's name: the two must never be mixed.
    private static FigureFile File(Epci territory, string? commune, string basis, string? from, string? to)
    {
        var residence = basis == IndicatorsProjection.Residence;
        return new FigureFile(
            FigureFile.NameOf(residence ? "etat-civil-domicile" : "etat-civil-enregistrement", territory, commune, from, to),
            ["commune", "period"],
            [
                .. Column.Commune(territory, residence ? "Commune de domicile" : "Commune d’enregistrement"),
                Column.Text(Titles.Period, "period"),
                Column.Number(Titles.Births, "births"),
                Column.Number(Titles.Recognitions, "recognitions"),
                Column.Number(Titles.Marriages, "marriages"),
                Column.Number(Titles.Pacs, "pacs"),
                Column.Number(Titles.Deaths, "deaths"),
                Column.Number(Titles.NameChanges, "nameChanges"),
            ]);
    }
}
