using System.ComponentModel;
using System.Text.Json.Nodes;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.EventStore;
using Marten;
using Npgsql;

namespace Intercommunalite.Hub.Audit;

/// <summary>Registers the room in which it is noted who did what.</summary>
internal static class Configuration
{
    private const int MaxLimit = 1_000;

    public static WebApplicationBuilder AddAudit(this WebApplicationBuilder builder)
    {
        builder.Services.ConfigureMarten(options => options.Storage.ExtendedSchemaObjects.Add(AuditLog.Schema()));
        builder.Services.AddSingleton<AuditLog>();
        builder.Services.AddSingleton(new SchemaPart(async (services, cancellation) =>
        {
            await using var guard = services.GetRequiredService<NpgsqlDataSource>().CreateCommand(AuditLog.Guard);
            await guard.ExecuteNonQueryAsync(cancellation);
        }));
        return builder;
    }

    public static RouteGroupBuilder MapAudit(this RouteGroupBuilder api)
    {
        api.MapGet("audit", async (
                AuditLog audit,
                HttpContext context,
                [Description("Number of the last entry that the caller has; 0 for the beginning")] long after = 0,
                [Description("Most entries: 1 to 1000")] int limit = 100,
                [Description("Of this caller")] string? who = null,
                [Description("Acts that begin so: privacy., access.client-created")] string? act = null,
                [Description("On this subject")] string? subject = null) =>
            {
                if (limit is < 1 or > MaxLimit) return (IResult)Query.Problem("limit", $"1 to {MaxLimit} expected");
                if (!new[] { who, act, subject }.All(Query.IsText)) return Query.Problem("who, act, subject", "text without NUL expected");
                var rows = await audit.ReadAsync(after, limit, new(who, act, subject), context.RequestAborted);
                return TypedResults.Ok(new
                {
                    items = rows.Select(row => new { row.Seq, row.At, row.Who, row.Act, row.Subject, row.Why, row.TraceId, details = row.Details is null ? null : JsonNode.Parse(row.Details), row.Hash }),
                    next = rows.Count == limit ? rows[^1].Seq : (long?)null,
                });
            })
            .RequireAuthorization(Rules.ProtectData)
            .WithName("Audit").WithSummary("Who did what, when and why, in order; next is the after of the next page");
        api.MapGet("audit/verification", async (
                AuditLog audit,
                CancellationToken cancellation,
                [Description("A last hash that was noted before")] string? expect = null) => await audit.VerifyAsync(expect, cancellation))
            .RequireAuthorization(Rules.Audit)
            .WithName("AuditVerification").WithSummary("Goes through the chain of hashes: how many entries are as they were written, the last hash, and what is wrong after them");
        return api;
    }
}
