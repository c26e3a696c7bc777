using System.Net;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Feeds.Webhooks;

/// <summary>A webhook of a test's own, and what is done with it.</summary>
public abstract class WebhookScenario(WebhookNodes nodes)
{
    private protected const string Path = "/api/v1/subscriptions";

    private static int s_last;

    private int _day;

    private protected WebhookNodes Hub { get; } = nodes;

    /// <summary>The webhook's name, and the beginning of its records'.</summary>
    private protected string Name { get; } = $"hook-{Interlocked.Increment(ref s_last)}";

    private protected static void AssertInOrder(IEnumerable<Received> received)
    {
        foreach (var record in received.GroupBy(one => one.Record))
        {
            var times = record.Select(one => one.Event.GetProperty("data").GetProperty("date").GetString()).ToList();
            Assert.Equal(times.Order(StringComparer.Ordinal), times);
        }
    }

    private protected int Said(string words) => Hub.Logged.Count(line => line.Contains($"webhook {Name} {words}", StringComparison.Ordinal));

    // For what that very connection holds: rows that nobody but the test knows.
    private protected async Task SomebodyWaitsForAsync(Npgsql.NpgsqlConnection connection) => await Eventually.Is(
        () => Hub.Store.RowsAsync($"SELECT count(*) FROM pg_stat_activity WHERE {connection.ProcessID} = ANY (pg_blocking_pids(pid))"), rows => rows is not ["0"]);

    private protected object Mine() => new { subjects = new[] { $"{Name}/*" } };

    private protected async Task MakeAsync(TestEndpoint endpoint, string? token = null, int maxAttempts = 10, string? secret = null, string? name = null)
    {
        var made = await Hub.One.AskAsync(HttpMethod.Post, Path, token ?? Hub.Administrator, new { name = name ?? Name, start = "now", filter = Mine(), maxAttempts, webhook = new { url = endpoint.Url, secret } });
        Assert.True(made.Status == HttpStatusCode.Created, made.Body.ToString());
    }

    private protected async Task MoveAsync(TestEndpoint endpoint, string? secret = null)
    {
        var moved = await Hub.One.AskAsync(HttpMethod.Patch, $"{Path}/{Name}", Hub.Administrator, new { webhook = new { url = endpoint.Url, secret } });
        Assert.True(moved.Status == HttpStatusCode.OK, moved.Body.ToString());
    }

    private protected async Task<string> AllowAsync(params SharedEvents[] events)
    {
        var token = await Hub.One.LetInAsync($"partner-{Name}", Roles.Partner);
        await Hub.One.ActivateAsync($"agreement-{Name}", Terms(events) with { Title = Guid.NewGuid().ToString(), Partner = new("Partner", [$"partner-{Name}"]), To = null });
        return token;
    }

    private protected Task BirthAsync(string record) => Hub.Store.ArriveAsync(
        Event(new BirthRegistered(PartialDate.Parse("2026-11-01"), "1") { Personal = new BirthPersonal(new Person("MARQUEUR-NOM", "MARQUEUR-PRENOM", BirthDate: PartialDate.Parse("2026-11-01")), []) }, $"{Name}/{record}"));

    private protected Task ArriveAsync(params string[] records) => Hub.Store.ArriveAsync(
        [.. records.Select(record => Event(new DeathRegistered(PartialDate.Parse($"{2000 + (++_day / 300)}-{1 + (_day % 300 / 28):00}-{1 + (_day % 300 % 28):00}")), $"{Name}/{record}"))]);

    private protected static Task<Received> NextAsync(TestEndpoint endpoint) => Eventually.Is(() => endpoint.Requests.FirstOrDefault()!, received => received is not null);

    private protected async Task<JsonElement> ShowAsync() => (await Hub.One.AskAsync(HttpMethod.Get, $"{Path}/{Name}", Hub.Administrator)).Body;

    private protected Task<(HttpStatusCode Status, JsonElement Body, string? Tag)> PostAsync(string path, object body) => Hub.One.AskAsync(HttpMethod.Post, $"{Path}{path}", Hub.Administrator, body);
}
