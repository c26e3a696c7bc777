using System.ComponentModel;
using System.Globalization;
using System.Text.Json;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.EventStore;
using Npgsql;

namespace Intercommunalite.Hub.Schools;

/// <summary>The school rolls: for each school and school year its pupils, by level, and those who live elsewhere.</summary>
internal static class Rolls
{
    public static void Map(IEndpointRouteBuilder api) => api.MapGet("schools/rolls", QueryAsync)
        .RequireAuthorization(Rules.ReadFigures)
        .WithName("SchoolRolls")
        .WithSummary("Pupils by school, level and school year, and how many of them live outside the school's commune");

    private static async Task<IResult> QueryAsync(
        HttpContext context,
        Epci territory,
        [AsParameters] AnswerForm form,
        [Description("Year in which the school year starts: 2026 for 2026-2027")] string? schoolYear = null,
        [Description("INSEE code of the schools' commune")] string? commune = null,
        [Description("Position that the figures must have seen")] long? minPosition = null)
    {
        if (Query.Check(null, null, commune, territory, out var problem) is false) return problem!;
        if (schoolYear is not null && !(schoolYear.Length == 4 && int.TryParse(schoolYear, NumberStyles.None, CultureInfo.InvariantCulture, out _)))
            return Query.Problem("schoolYear", "the year in which the school year starts expected, 2026 for 2026-2027");
        return await HubPosition.AnswerAsync(context, RollsProjection.ProjectionName, minPosition, form, File(territory, commune, schoolYear), version => $"""
            WITH level AS (
                SELECT commune, uai, school_year, level, sum(pupils) AS pupils, sum(pupils) FILTER (WHERE residence <> commune) AS outside
                FROM {version.Of(RollsProjection.Rolls.Name)} WHERE commune = ANY($1) AND ($2::text IS NULL OR school_year = $2::int)
                GROUP BY commune, uai, school_year, level HAVING sum(pupils) <> 0),
            roll AS (
                SELECT commune, uai, school_year, sum(pupils) AS pupils, coalesce(sum(outside), 0) AS outside,
                    json_agg(json_build_object('level', level, 'pupils', pupils, 'outOfCommune', coalesce(outside, 0))
                        ORDER BY array_position(ARRAY['PS','MS','GS','CP','CE1','CE2','CM1','CM2','ULIS'], level)) AS levels
                FROM level GROUP BY commune, uai, school_year),
            school AS (SELECT * FROM {version.Of(RollsProjection.Schools.Name)} WHERE commune = ANY($1) AND ($2::text IS NULL OR school_year = $2::int))
            SELECT json_build_object('commune', commune, 'school', uai, 'name', name, 'schoolYear', school_year, 'places', places,
                'pupils', coalesce(pupils, 0), 'outOfCommune', coalesce(outside, 0), 'levels', coalesce(roll.levels, '[]'))
            FROM school FULL JOIN roll USING (commune, uai, school_year)
            ORDER BY commune, uai, school_year
            """,
            new NpgsqlParameter { Value = Query.Communes(commune, territory) },
            Query.Text(schoolYear));
    }

    private static FigureFile File(Epci territory, string? commune, string? schoolYear) => new(
        FigureFile.NameOf("effectifs-scolaires", territory, commune, schoolYear),
        ["commune", "school", "schoolYear"],
        [
            .. Column.Commune(territory),
            Column.Text(Titles.SchoolCode, "school"),
            Column.Text(Titles.School, "name"),
            new(Titles.SchoolYear, item => Years(item.GetProperty("schoolYear").GetInt32())),
            Column.Number(Titles.Places, "places"),
            Column.Number(Titles.Pupils, "pupils"),
            Column.Number(Titles.PupilsOutside, "outOfCommune"),
            .. Enum.GetNames<SchoolLevel>().Select(level => new Column(level, null, item => Pupils(item, level))),
        ]);

    private static string Years(int start) => string.Create(CultureInfo.InvariantCulture, $"{start}-{start + 1}");

    private static long Pupils(JsonElement item, string level) => item.GetProperty("levels").EnumerateArray()
        .Where(counted => counted.GetProperty("level").ValueEquals(level))
        .Sum(counted => counted.GetProperty("pupils").GetInt64());
}
