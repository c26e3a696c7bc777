using System.Diagnostics;
using System.Text;
using Grpc.Core;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Feeds.Subscriptions;
using Intercommunalite.Hub.Privacy;
using Npgsql;

namespace Intercommunalite.Hub.Feeds.Webhooks;

/// <summary>
/// Brings to every webhook what it has, a loop for each, so that none waits for another. Of the nodes one brings to an endpoint; when it is
/// heard of no more for ten seconds, another one does.
/// </summary>
internal sealed partial class WebhookDelivery(
    NpgsqlDataSource database, StoreSchema schema, Deliveries deliveries, Readers readers, Finding finding, Endpoints endpoints, AgreementsInForce agreements, CurrentRights rights, IKeyWrapping master,
    AuditLog audit, WebhookOptions options, ILogger<WebhookDelivery> logger) : BackgroundService
{
    private const int MostAtATime = 8;
    private const int MostAcknowledgements = 5;
    private static readonly TimeSpan s_look = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_mostRetryAfter = TimeSpan.FromHours(1);

    private readonly Dictionary<string, Task> _loops = new(StringComparer.Ordinal);

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(s_look);
        try
        {
            await schema.Applied.WaitAsync(stoppingToken);
            do
            {
                try
                {
                    foreach (var (name, isAlert, since, why) in await Webhook.AlertsAsync(database, options, stoppingToken))
                    {
                        if (isAlert) LogFailing(name, since!.Value, why ?? "");
                        else LogFailingNoMore(name);
                    }

                    foreach (var ended in _loops.Where(loop => loop.Value.IsCompleted).ToList()) _loops.Remove(ended.Key);
                    foreach (var name in await Webhook.ActiveAsync(database, stoppingToken))
                    {
                        if (!_loops.ContainsKey(name)) _loops[name] = LoopAsync(name, stoppingToken);
                    }
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    LogAway(e.Message);
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }

        await Task.WhenAll(_loops.Values);
    }

    // Until the subscription is no more, or suspended, or another node's. Never throws: it is begun again a moment later.
    private async Task LoopAsync(string name, CancellationToken stopping)
    {
        var id = Guid.NewGuid();
        try
        {
            if (!await Webhook.TakeAsync(database, name, id, stopping)) return;
            var flying = new HashSet<Task>();
            readers.Begin(name, id);
            try
            {
                await BringAsync(name, id, flying, stopping);
            }
            finally
            {
                await Task.WhenAll(flying).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                await readers.EndAsync(id);
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // Stopping.
        }
        catch (Exception e)
        {
            LogBroken(name, e.GetType().Name);
            await Task.Delay(s_look, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task BringAsync(string name, Guid reader, HashSet<Task> flying, CancellationToken stopping)
    {
        var looked = 0L;
        FeedAccess? access = null;
        Bringing? to = null;
        while (true)
        {
            flying.RemoveWhere(sent => sent.IsCompleted);
            if (to is null || Stopwatch.GetElapsedTime(looked) > s_look)
            {
                if (await Subscription.FindAsync(database, name, stopping) is not { IsSuspended: false } subscription || (to?.Target.Subscription ?? subscription).CreatedAt != subscription.CreatedAt) return;
                if (await Webhook.FindAsync(database, name, stopping) is not { } webhook || !await Webhook.TakeAsync(database, name, reader, stopping)) return;
                var target = new Target(subscription, webhook, [.. webhook.Secrets.Select(wrapped => master.Unwrap(wrapped))]);
                // Of an endpoint that was asked anew nothing is known, even if the address is the same: the pause that it had ends.
                if (to?.Target.Webhook.AskedAt == webhook.AskedAt) to.Target = target;
                else to = new(reader, target, options);
                to.Wait(webhook.Pause);
                access ??= new(Reader.OfClient(subscription.Client, subscription.Agreement is null, rights), subscription.Agreement ?? "", subscription.Filter, agreements);
                if (webhook.FailingSince is not null) await (await MayAsync(access, stopping) ? webhook.ForgetIfIdleAsync(database, stopping) : webhook.NotFailingAsync(database, stopping));
                looked = Stopwatch.GetTimestamp();
            }

            if (to.Pause is { } pause && pause > TimeSpan.Zero)
            {
                await AnyAsync(flying, Task.Delay(pause < s_look ? pause : s_look, stopping));
                continue;
            }

            var most = to.IsProbing || to.Target.Webhook.Rate is not null ? 1 : MostAtATime;
            if (flying.Count >= most)
            {
                await AnyAsync(flying, Task.Delay(s_look, stopping));
                continue;
            }

            await TakeOnAsync(to, access!, most, flying, stopping);
        }
    }

    // Whether anything may be brought now; true also when that cannot be looked up.
    private static async ValueTask<bool> MayAsync(FeedAccess access, CancellationToken stopping)
    {
        try
        {
            await access.NowAsync(stopping);
            return true;
        }
        catch (RpcException e)
        {
            return e.StatusCode == StatusCode.Unavailable;
        }
    }

    // When there is nothing to be brought, for whatever reason, it waits: whether the subscription is to be brought at all is looked up anyway.
    private async Task TakeOnAsync(Bringing to, FeedAccess access, int most, HashSet<Task> flying, CancellationToken stopping)
    {
        // One and the same for what is read and where that goes, whatever is changed meanwhile.
        var target = to.Target;
        try
        {
            var found = await finding.NextAsync(target.Subscription, to.Reader, most, most - flying.Count, access, freshFirst: to.IsProbing, stopping);
            if (found.Claimed.Count == 0)
            {
                await AnyAsync(flying, Task.WhenAny(found.More, Task.Delay(s_look, stopping)));
                return;
            }

            var left = new List<Claimed>(found.Claimed);
            try
            {
                var read = await finding.ReadAsync(found.Claimed, access, target.Webhook.MayHavePersonal, stopping);
                var gone = found.Claimed.Where(one => !read.Events.ContainsKey(one.Position)).ToList();
                if (read.Page.IsStale(access)) return;
                await deliveries.DropAsync(target.Name, to.Reader, gone, stopping);
                left.RemoveAll(gone.Contains);
                foreach (var one in found.Claimed.Except(gone))
                {
                    left.Remove(one);
                    flying.Add(BringAsync(to, target, one, read.Events[one.Position], () => read.Page.IsStale(access), stopping));
                }
            }
            finally
            {
                await readers.TryAsync(() => deliveries.GiveBackAsync(target.Name, to.Reader, left, CancellationToken.None));
            }
        }
        catch (RpcException)
        {
            // Nothing is allowed now, or it cannot be looked up: its place stays.
            await AnyAsync(flying, Task.Delay(s_look, stopping));
        }
    }

    private async Task BringAsync(Bringing to, Target target, Claimed one, FeedEvent read, Func<bool> isStale, CancellationToken stopping)
    {
        try
        {
            // Known by this to whoever gets it twice; a replay is another message.
            var id = one.Replay.Length == 0 ? $"msg_{read.Place.Event:N}" : $"msg_{read.Place.Event:N}_{one.Replay}";
            var body = Encoding.UTF8.GetBytes(FeedApi.Json(json => EventJson.Write(json, read.Message, extensions =>
            {
                extensions.WriteNumber("attempt", one.Attempt);
                if (one.Replay.Length > 0) extensions.WriteString("replay", one.Replay);
            })));
            var answer = await to.SendAsync((one.Replay, one.Position), async cancellation => isStale() ? null : await endpoints.PostAsync(target.Webhook, target.Secrets, id, body, cancellation), stopping);
            switch (answer)
            {
                case null:
                    await deliveries.GiveBackAsync(target.Name, to.Reader, [one], stopping);
                    break;
                case { Verdict: Verdict.Taken }:
                    await AcknowledgeAsync(target.Name, to.Reader, one, stopping);
                    await target.Webhook.SucceededAsync(database, stopping);
                    if (to.WasAway)
                    {
                        // Before that is done: it may be away again by then.
                        to.WasAway = false;
                        try
                        {
                            await deliveries.BackAsync(target.Name, stopping);
                        }
                        catch
                        {
                            to.WasAway = true;
                            throw;
                        }
                    }

                    break;
                default:
                    if (answer.Verdict == Verdict.Gone) await SuspendAsync(target, $"the endpoint is gone ({answer.Why})", stopping);
                    // At once, before another one goes there.
                    var wait = to.Wait(answer.RetryAfter > s_mostRetryAfter ? s_mostRetryAfter : answer.RetryAfter);
                    if (answer.Verdict == Verdict.Refused) await target.Webhook.NotFailingAsync(database, stopping);
                    if (answer.Verdict == Verdict.Away) await target.Webhook.AwayAsync(database, answer.Why, wait, stopping);
                    await deliveries.FailAsync(target.Webhook, to.Reader, one, answer.Why, answer.Verdict == Verdict.Refused, wait, stopping);
                    break;
            }
        }
        catch (Exception e) when (!stopping.IsCancellationRequested)
        {
            // It is held still: it comes again when the time to acknowledge is over, which is no failure, or this loop ends.
            LogBroken(target.Name, e.GetType().Name);
        }
    }

    // It took it: what the database cannot note at once is not to be sent again for that.
    private async Task AcknowledgeAsync(string name, Guid reader, Claimed one, CancellationToken stopping)
    {
        for (var tried = 1; ; tried++)
        {
            try
            {
                await deliveries.AcknowledgeAsync(name, [(reader, one)], stopping);
                return;
            }
            catch (Exception e) when (tried < MostAcknowledgements && (e is NpgsqlException or TimeoutException))
            {
                await Task.Delay(s_look, stopping);
            }
        }
    }

    // Unless the endpoint was asked anew since, or the subscription is suspended already.
    private async Task SuspendAsync(Target target, string reason, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await Deliveries.HoldAsync(connection, target.Name, cancellation);
        if (!await target.Webhook.SuspendAsync(connection, target.Subscription.CreatedAt, reason, cancellation)) return;
        await audit.AppendAsync(connection, new(Subscription.Hub, "subscriptions.suspended", target.Name, reason), cancellation);
        await transaction.CommitAsync(cancellation);
        deliveries.Wake(target.Name);
        LogSuspended(target.Name, reason);
    }

    private static Task<Task> AnyAsync(HashSet<Task> flying, Task other) => Task.WhenAny([.. flying, other]);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The webhook {Subscription} has taken nothing since {Since:u}: {Why}. What it has waits.")]
    private partial void LogFailing(string subscription, DateTimeOffset since, string why);

    [LoggerMessage(Level = LogLevel.Information, Message = "The alert of the webhook {Subscription} has ended: it answers again, is suspended, or there is nothing to be brought.")]
    private partial void LogFailingNoMore(string subscription);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The webhook {Subscription} is suspended: {Reason}.")]
    private partial void LogSuspended(string subscription, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "What the webhook {Subscription} has could not be brought; it is tried again. {Kind}")]
    private partial void LogBroken(string subscription, string kind);

    [LoggerMessage(Level = LogLevel.Debug, Message = "The webhooks could not be looked up. {Reason}")]
    private partial void LogAway(string reason);
}
