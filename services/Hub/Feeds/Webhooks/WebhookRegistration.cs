using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Feeds.Subscriptions;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;

namespace Intercommunalite.Hub.Feeds.Webhooks;

/// <summary>What is posted to have something brought.</summary>
/// <param name="Url">The endpoint: https.</param>
/// <param name="Secret">A secret that signs, made elsewhere: <c>whsec_</c> and 24 to 64 bytes in Base64; without it the hub makes one.</param>
internal sealed record WebhookAsked(string Url, string? Secret = null);

/// <summary>What is posted for another secret.</summary>
/// <param name="Secret">See <see cref="WebhookAsked"/>.</param>
internal sealed record SecretAsked(string? Secret = null);

/// <summary>An endpoint that allowed the hub to deliver.</summary>
/// <param name="Url">The endpoint.</param>
/// <param name="Secret">The secret.</param>
/// <param name="Rate">Most requests a minute; null for as many as it takes.</param>
internal sealed record AllowedEndpoint(Uri Url, byte[] Secret, int? Rate)
{
    /// <summary>The webhook that it is before anything was brought.</summary>
    public Webhook Of(string subscription) => new(subscription, Url, [], Rate, null, null, null, default, null);
}

/// <summary>A webhook as it is shown.</summary>
/// <param name="Url">The endpoint.</param>
/// <param name="RequestsPerMinute">Most that the endpoint allows.</param>
/// <param name="Alert">Whether somebody should look: it has taken nothing for long, or so much is parked that nothing more is brought.</param>
/// <param name="FailingSince">Since when it has taken nothing though something was brought.</param>
/// <param name="LastFailure">Why it takes nothing.</param>
/// <param name="LastSuccess">When it took one last.</param>
/// <param name="Note">Of an endpoint without TLS: that no personal data goes there; null for the others.</param>
/// <param name="Secret">The secret, told once, when it is made.</param>
internal sealed record WebhookView(Uri Url, int? RequestsPerMinute, bool Alert, DateTimeOffset? FailingSince, string? LastFailure, DateTimeOffset? LastSuccess, string? Note, string? Secret);

/// <summary>Makes and changes webhooks. Nothing is ever brought to an endpoint that did not allow it (<see cref="Endpoints.AskAsync"/>).</summary>
internal sealed class WebhookRegistration(NpgsqlDataSource database, Addresses addresses, Endpoints endpoints, IKeyWrapping master, WebhookOptions options, AccessOptions access, TimeProvider time)
{
    private const string Anew = "failing_since = NULL, not_before = NULL, asked_at = clock_timestamp()";

    private readonly string? _origin = options.Origin ?? (access is { TokenServer: true, Issuer: { } issuer } ? new Uri(issuer).Host : null);

    /// <summary>Checks what is asked for, and asks the endpoint.</summary>
    public async Task<(AllowedEndpoint? Endpoint, ProblemHttpResult? Refused)> PrepareAsync(WebhookAsked asked, CancellationToken cancellation)
    {
        if (addresses.Check(asked.Url, out var url) is { } wrong) return (null, Body.Unprocessable("webhook.url", wrong));
        var secret = asked.Secret is null ? WebhookSignature.NewSecret() : WebhookSignature.Read(asked.Secret);
        if (secret is null) return (null, WrongSecret("webhook.secret"));
        var (refused, rate) = await AskAsync(url, cancellation);
        return refused is null ? (new(url, secret, rate), null) : (null, refused);
    }

    /// <summary>Asks the endpoint of one that is there whether it is still to be delivered to, and how often.</summary>
    /// <returns>Why not, or the webhook with what it allows now; neither when there is none.</returns>
    public async Task<(Webhook? Allowed, ProblemHttpResult? Refused)> AskAgainAsync(string subscription, CancellationToken cancellation)
    {
        if (await Webhook.FindAsync(database, subscription, cancellation) is not { } webhook) return (null, null);
        var (refused, rate) = await AskAsync(webhook.Url, cancellation);
        return refused is null ? (webhook with { Rate = rate }, null) : (null, refused);
    }

    /// <summary>Adds it, in the transaction of a connection.</summary>
    public async Task AddAsync(NpgsqlConnection connection, string subscription, AllowedEndpoint endpoint, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("INSERT INTO feeds.webhook (subscription, url, secret, rate) VALUES ($1, $2, $3, $4)", connection);
        command.Parameters.Add(new() { Value = subscription });
        command.Parameters.Add(new() { Value = endpoint.Url.AbsoluteUri });
        command.Parameters.Add(new() { Value = master.Wrap(endpoint.Secret) });
        command.Parameters.Add(Number(endpoint.Rate));
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>
    /// From now on it is brought to another endpoint, in the transaction of a connection that holds the subscription. How it went with the
    /// one before, which may be the same, is forgotten, with any pause, and what waited because of it comes at once. The secret stays, unless
    /// another one is given.
    /// </summary>
    public static async Task MoveAsync(NpgsqlConnection connection, string subscription, AllowedEndpoint endpoint, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand(
            $"UPDATE feeds.webhook SET url = $2, rate = $3, last_failure = NULL, succeeded_at = NULL, {Anew} WHERE subscription = $1", connection);
        command.Parameters.Add(new() { Value = subscription });
        command.Parameters.Add(new() { Value = endpoint.Url.AbsoluteUri });
        command.Parameters.Add(Number(endpoint.Rate));
        await command.ExecuteNonQueryAsync(cancellation);
        await Deliveries.HurryAsync(connection, subscription, cancellation);
    }

    /// <summary>It is brought to the endpoint anew, as often as that allowed when it was asked, in the transaction of a connection. Any pause ends.</summary>
    public static async Task ResumeAsync(NpgsqlConnection connection, Webhook allowed, CancellationToken cancellation)
    {
        // One that was moved meanwhile was asked by whoever moved it.
        await using var command = new NpgsqlCommand(
            $"UPDATE feeds.webhook SET rate = CASE WHEN url = $2 THEN $3 ELSE rate END, {Anew} WHERE subscription = $1", connection);
        command.Parameters.Add(new() { Value = allowed.Subscription });
        command.Parameters.Add(new() { Value = allowed.Url.AbsoluteUri });
        command.Parameters.Add(Number(allowed.Rate));
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>From now on another secret signs, and for a while the one before too; in the transaction of a connection.</summary>
    /// <returns>Until when.</returns>
    public async Task<DateTimeOffset> RenewAsync(NpgsqlConnection connection, string subscription, byte[] secret, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand(
            "UPDATE feeds.webhook SET previous = secret, previous_until = clock_timestamp() + $3, secret = $2 WHERE subscription = $1 RETURNING previous_until", connection);
        command.Parameters.Add(new() { Value = subscription });
        command.Parameters.Add(new() { Value = master.Wrap(secret) });
        command.Parameters.Add(new() { Value = options.SecretOverlap });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        await row.ReadAsync(cancellation);
        return row.GetFieldValue<DateTimeOffset>(0);
    }

    /// <summary>A webhook as it is shown; with its secret only when that was made by the same call.</summary>
    public WebhookView View(Webhook webhook, bool isSuspended, bool isFull, string? secret) => new(
        webhook.Url, webhook.Rate, !isSuspended && (isFull || webhook.IsAlert(options, time.GetUtcNow())), webhook.FailingSince, webhook.FailingSince is null ? null : webhook.LastFailure, webhook.SucceededAt,
        webhook.MayHavePersonal ? null : "http, not https: events come without personal data, whatever the agreement allows", secret);

    /// <summary>422 for a secret of a wrong form.</summary>
    public static ProblemHttpResult WrongSecret(string field) => Body.Unprocessable(field, "whsec_ and 24 to 64 bytes in Base64 expected, or none for one that the hub makes");

    private async Task<(ProblemHttpResult? Refused, int? Rate)> AskAsync(Uri url, CancellationToken cancellation)
    {
        if (_origin is null)
        {
            return (TypedResults.Problem(
                title: "The hub has no name", detail: "Endpoints are asked under the hub's public name: set it as Webhooks__Origin.", statusCode: StatusCodes.Status409Conflict), null);
        }

        var (answer, rate) = await endpoints.AskAsync(url, _origin, options.Timeout, cancellation);
        return (answer.Verdict switch
        {
            Verdict.Taken => null,
            Verdict.Away => Body.Unprocessable("webhook.url", $"the endpoint could not be asked whether {_origin} may deliver: {answer.Why}"),
            _ => Body.Unprocessable("webhook.url", $"the endpoint does not allow {_origin} to deliver: {answer.Why}"),
        }, rate);
    }

    private static NpgsqlParameter Number(int? value) => new() { Value = (object?)value ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Integer };
}
