using System.ComponentModel;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.EventStore;
using Npgsql;

namespace Intercommunalite.Hub.Payments;

/// <summary>The summary of payments, for dashboards and accounts.</summary>
internal static class Summary
{
    public static void Map(IEndpointRouteBuilder api) => api.MapGet("payments/summary", QueryAsync)
        .RequireAuthorization(Rules.ReadFigures)
        .WithName("PaymentsSummary")
        .WithSummary("Money issued, reduced, collected, refunded and outstanding: euro cents as JSON, euros as CSV");

    private static async Task<IResult> QueryAsync(
        HttpContext context,
        Epci territory,
        [AsParameters] AnswerForm form,
        [Description("First month, YYYY-MM")] string? from = null,
        [Description("Last month, YYYY-MM")] string? to = null,
        [Description("INSEE code of a commune")] string? commune = null,
        [Description("month (default), service or commune")] string by = "month",
        [Description("Position that the figures must have seen")] long? minPosition = null)
    {
        if (Query.Check(from, to, commune, territory, out var problem) is false) return problem!;
        (string Service, string Period)? columns = by switch
        {
            "month" => ("NULL::text", "period"),
            "service" => ("nullif(service, '')", "NULL::text"),
            "commune" => ("NULL::text", "NULL::text"),
            _ => null,
        };
        if (columns is not var (service, period)) return Query.Problem("by", "month, service or commune expected");
        return await HubPosition.AnswerAsync(context, PaymentsProjection.ProjectionName, minPosition, form, File(territory, commune, from, to), version => $$"""
            SELECT json_build_object('commune', commune, 'service', {{service}}, 'period', {{period}}, 'issued', sum(issued), 'reduced', sum(reduced),
                'collected', sum(collected), 'refunded', sum(refunded), 'outstanding', sum(outstanding), 'overpaid', sum(overpaid), 'paidOnline', sum(paid_online))
            FROM {{version.Of(PaymentsProjection.Summary.Name)}}
            WHERE commune = ANY($1) AND ($2::text IS NULL OR period >= $2) AND ($3::text IS NULL OR period <= $3)
            GROUP BY commune, {{service}}, {{period}}
            HAVING sum(issued + reduced + collected + refunded + outstanding + overpaid + paid_online) <> 0
            ORDER BY commune, {{service}}, {{period}}
            """,
            new NpgsqlParameter { Value = Query.Communes(commune, territory) },
            Query.Text(from),
            Query.Text(to));
    }

    private static FigureFile File(Epci territory, string? commune, string? from, string? to) => new(
        FigureFile.NameOf("recettes", territory, commune, from, to),
        ["commune", "service", "period"],
        [
            .. Column.Commune(territory),
            Column.Text(Titles.Service, "service"),
            Column.Text(Titles.Period, "period"),
            Column.Euros(Titles.Issued, "issued"),
            Column.Euros(Titles.Reduced, "reduced"),
            Column.Euros(Titles.Collected, "collected"),
            Column.Euros(Titles.Refunded, "refunded"),
            Column.Euros(Titles.Outstanding, "outstanding"),
            Column.Euros(Titles.Overpaid, "overpaid"),
            Column.Euros(Titles.PaidOnline, "paidOnline"),
        ]);
}
