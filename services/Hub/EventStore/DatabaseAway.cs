using System.Globalization;
using Microsoft.AspNetCore.Diagnostics;
using Npgsql;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// Whether the database is away, for all who must tell; and what a call over HTTP is answered then: 503 with <c>Retry-After</c>, since the
/// same call succeeds once the database is back.
/// </summary>
internal sealed partial class DatabaseAway(ILogger<DatabaseAway> logger) : IExceptionHandler
{
    private const int RetryAfterSeconds = 5;

    /// <summary>
    /// Whether an error says that the database does not answer now. An error that it answers with is no outage, unless it says that it is
    /// one, or refuses or ends the session (FATAL).
    /// </summary>
    public static bool Is(Exception e) =>
        e is NpgsqlException and (not PostgresException or { IsTransient: true } or PostgresException { InvariantSeverity: "FATAL" or "PANIC" }) or TimeoutException;

    /// <inheritdoc/>
    public async ValueTask<bool> TryHandleAsync(HttpContext httpContext, Exception exception, CancellationToken cancellationToken)
    {
        if (!Is(exception)) return false;
        LogAway($"{exception.Message} ({exception.GetType().Name})");
        httpContext.Response.Headers.RetryAfter = RetryAfterSeconds.ToString(CultureInfo.InvariantCulture);
        await TypedResults.Problem(
            title: "Not now", detail: $"The hub's database does not answer now. Ask again in {RetryAfterSeconds} s.", statusCode: StatusCodes.Status503ServiceUnavailable)
            .ExecuteAsync(httpContext);
        return true;
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "A call was answered with 503, since the database does not answer. {Reason}")]
    private partial void LogAway(string reason);
}
