using System.Diagnostics.Metrics;
using System.Globalization;
using Intercommunalite.Contracts;
using Intercommunalite.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Intercommunalite.Connector.Intake;

/// <summary>Why a request was refused, as the metric has it.</summary>
internal enum Cause
{
    /// <summary>The content is wrong: to be corrected.</summary>
    Invalid,

    /// <summary>Too many bytes: to be sent in parts.</summary>
    TooLarge,

    /// <summary>Too many requests: to be sent again in a moment.</summary>
    Rate,

    /// <summary>The journal or its disk has no room: to be sent again later.</summary>
    Limit,
}

/// <summary>Requests that are refused: each is counted, and those with nothing wrong in them are told what to do.</summary>
internal static class Refusals
{
    // What lies behind a limit changes in minutes at best.
    private static readonly TimeSpan s_afterLimit = TimeSpan.FromSeconds(30);

    private static readonly Counter<long> s_refused = Telemetry.Meter.CreateCounter<long>(
        "hub.events.refused", "{request}", "Requests with events or files that were refused whole, by commune and cause; commune is empty for files of several");

    /// <summary>Counts a refusal.</summary>
    public static void Count(CommuneCode? commune, Cause cause) => s_refused.Add(
        1,
        new KeyValuePair<string, object?>("commune", commune?.ToString() ?? ""),
        new KeyValuePair<string, object?>("cause", cause switch { Cause.TooLarge => "too-large", Cause.Rate => "rate", Cause.Limit => "limit", _ => "invalid" }));

    /// <summary>503: there is no room now.</summary>
    public static ProblemHttpResult NoRoom(HttpResponse response, CommuneCode? commune, string reason)
    {
        Count(commune, Cause.Limit);
        RetryAfter(response, s_afterLimit);
        return TypedResults.Problem(
            title: "No room",
            detail: $"Nothing was accepted; send it again later. {reason}",
            statusCode: StatusCodes.Status503ServiceUnavailable);
    }

    /// <summary>413: the body is longer than allowed.</summary>
    public static ProblemHttpResult TooLarge(CommuneCode? commune, long maxBytes, string remedy)
    {
        Count(commune, Cause.TooLarge);
        return TypedResults.Problem(
            title: "Body too large",
            detail: $"Nothing was accepted. A body has {maxBytes} bytes at most. {remedy}",
            statusCode: StatusCodes.Status413PayloadTooLarge);
    }

    /// <summary>429: too many requests for this commune.</summary>
    public static ProblemHttpResult TooMany(HttpResponse response, CommuneCode? commune, TimeSpan retryAfter, string rate)
    {
        Count(commune, Cause.Rate);
        RetryAfter(response, retryAfter);
        return TypedResults.Problem(
            title: "Too many requests",
            detail: $"Nothing was accepted; send it again after the time in Retry-After. {rate} Events go faster in batches.",
            statusCode: StatusCodes.Status429TooManyRequests);
    }

    private static void RetryAfter(HttpResponse response, TimeSpan delay) =>
        response.Headers.RetryAfter = Math.Max(1, Math.Ceiling(delay.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
}
