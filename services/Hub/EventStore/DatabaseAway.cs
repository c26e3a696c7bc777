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
    /// one, or refuses or ends the session (FATAL). Entity Framework and Marten put an error of their own around it.
    /// </summary>
    public static bool Is(Exception e)
    {
        for (var cause = e; cause is not null; cause = cause.InnerException)
        {
            if (cause is NpgsqlException and (not PostgresException or { IsTransient: true } or PostgresException { InvariantSeverity: "FATAL" or "PANIC" })) return true;
        }

        // Within another error, it may be that of a call to somebody else.
        return e is TimeoutException;
    }

    /// <inheritdoc/>
    public async ValueTask<bool> TryHandleAsync(HttpContext httpContext, Exception exception, CancellationToken cancellationToken)
    {
        if (!Is(exception)) return false;
        var cause = exception.GetBaseException();
        LogAway($"{cause.Message} ({cause.GetType().Name})");
        httpContext.Response.Headers.RetryAfter = RetryAfterSeconds.ToString(CultureInfo.InvariantCulture);
        await TypedResults.Problem(
            title: "Not now", detail: $"The hub's database does not answer now. Ask again in {RetryAfterSeconds} s.", statusCode: StatusCodes.Status503ServiceUnavailable)
            .ExecuteAsync(httpContext);
        return true;
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "A call was answered with 503, since the database does not answer. {Reason}")]
    private partial void LogAway(string reason);
}
