using Intercommunalite.Hub.Access;
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
internal sealed record AllowedEndpoint(Uri Url, byte[] Secret, int? Rate);

/// <summary>A webhook as it is shown.</summary>
/// <param name="Url">The endpoint.</param>
/// <param name="RequestsPerMinute">Most that the endpoint allows.</param>
/// <param name="Alert">Whether it has taken nothing for so long that somebody should look.</param>
/// <param name="FailingSince">Since when it has taken nothing though something was brought.</param>
/// <param name="LastFailure">Why it did not take the last one that it did not take.</param>
/// <param name="LastSuccess">When it took one last.</param>
/// <param name="Secret">The secret, told once, when it is made.</param>
internal sealed record WebhookView(Uri Url, int? RequestsPerMinute, bool Alert, DateTimeOffset? FailingSince, string? LastFailure, DateTimeOffset? LastSuccess, string? Secret);

/// <summary>Makes and changes webhooks. Nothing is ever brought to an endpoint that did not allow it (<see cref="Endpoints.AskAsync"/>).</summary>
internal sealed class WebhookRegistration(NpgsqlDataSource database, Addresses addresses, Endpoints endpoints, IKeyWrapping master, WebhookOptions options, AccessOptions access, TimeProvider time)
{
    private readonly string? _origin = options.Origin ?? (access is { TokenServer: true, Issuer: { } issuer } ? new Uri(issuer).Host : null);

    /// <summary>Seconds after which a delivery that is under way is taken to have failed: later than any request with its tries.</summary>
    public int AckTimeout => (int)Math.Max(60, (3 * options.Timeout.TotalSeconds) + 30);

    /// <summary>Checks what is asked for, and asks the endpoint.</summary>
    public async Task<(AllowedEndpoint? Endpoint, ProblemHttpResult? Refused)> PrepareAsync(WebhookAsked asked, CancellationToken cancellation)
    {
        if (addresses.Check(asked.Url, out var url) is { } wrong) return (null, Body.Unprocessable("webhook.url", wrong));
        var secret = asked.Secret is null ? WebhookSignature.NewSecret() : WebhookSignature.Read(asked.Secret);
        if (secret is null) return (null, WrongSecret("webhook.secret"));
        var (refused, rate) = await AskAsync(url, cancellation);
        return refused is null ? (new(url, secret, rate), null) : (null, refused);
    }

    /// <summary>Asks the endpoint of one that is there whether it is still to be delivered to; null when it is.</summary>
    public async Task<ProblemHttpResult?> AskAgainAsync(string subscription, CancellationToken cancellation) =>
        await Webhook.FindAsync(database, subscription, cancellation) is { } webhook ? (await AskAsync(webhook.Url, cancellation)).Refused : null;

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

    /// <summary>From now on it is brought to another endpoint, in the transaction of a connection; the secret stays.</summary>
    public static async Task MoveAsync(NpgsqlConnection connection, string subscription, AllowedEndpoint endpoint, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("UPDATE feeds.webhook SET url = $2, rate = $3, failing_since = NULL WHERE subscription = $1", connection);
        command.Parameters.Add(new() { Value = subscription });
        command.Parameters.Add(new() { Value = endpoint.Url.AbsoluteUri });
        command.Parameters.Add(Number(endpoint.Rate));
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
    public WebhookView View(Webhook webhook, string? secret) => new(
        webhook.Url, webhook.Rate, webhook.IsAlert(options, time.GetUtcNow()), webhook.FailingSince, webhook.FailingSince is null ? null : webhook.LastFailure, webhook.SucceededAt, secret);

    /// <summary>422 for a secret of a wrong form.</summary>
    public static ProblemHttpResult WrongSecret(string field) => Body.Unprocessable(field, "whsec_ and 24 to 64 bytes in Base64 expected, or none for one that the hub makes");

    private async Task<(ProblemHttpResult? Refused, int? Rate)> AskAsync(Uri url, CancellationToken cancellation)
    {
        if (_origin is null)
        {
            return (TypedResults.Problem(
                title: "The hub has no name", detail: "Endpoints are asked under the hub's public name: set it as Webhooks__Origin.", statusCode: StatusCodes.Status409Conflict), null);
        }

        var (refused, rate) = await endpoints.AskAsync(url, _origin, options.Timeout, cancellation);
        return (refused is null ? null : Body.Unprocessable("webhook.url", $"the endpoint does not allow {_origin} to deliver: {refused}"), rate);
    }

    private static NpgsqlParameter Number(int? value) => new() { Value = (object?)value ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Integer };
}
