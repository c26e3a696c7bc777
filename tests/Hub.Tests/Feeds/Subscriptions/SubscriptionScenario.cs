using System.Net;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Feeds;
using Intercommunalite.Hub.Feeds.Subscriptions;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Feeds.Subscriptions;

/// <summary>A durable subscription of a test's own, and what is done with it.</summary>
public abstract class SubscriptionScenario(SubscriptionNodes nodes)
{
    private protected const string Path = "/api/v1/subscriptions";

    private static int s_last;

    private protected SubscriptionNodes Hub { get; } = nodes;

    /// <summary>The subscription's name, and the beginning of its records'.</summary>
    private protected string Name { get; } = $"sub-{Interlocked.Increment(ref s_last)}";

    private protected static string Record(Delivery delivery) => delivery.Event.Subject.Split('/')[^1];

    private protected object Mine() => new { subjects = new[] { $"{Name}/*" } };

    private protected Task CreateAsync(object? asked = null) => Hub.CreateAsync(asked ?? new { name = Name, start = "now", filter = Mine() });

    private protected Task ArriveAsync(params string[] records) =>
        Hub.Store.ArriveAsync([.. records.Select(record => Event(new DeathRegistered(PartialDate.Parse("2026-11-02")), $"{Name}/{record}"))]);

    private protected Task<IReadOnlyList<string>> RowsAsync() => Hub.Store.RowsAsync($"SELECT count(*) FROM feeds.delivery WHERE subscription = '{Name}'");

    private protected async Task<JsonElement> ShowAsync() => (await Hub.One.AskAsync(HttpMethod.Get, $"{Path}/{Name}", Hub.Administrator)).Body;

    private protected Task<(HttpStatusCode Status, JsonElement Body, string? Tag)> PostAsync(string path, object body) =>
        Hub.One.AskAsync(HttpMethod.Post, path.StartsWith('?') || path.Length == 0 ? $"{Path}{path}" : $"{Path}/{path}", Hub.Administrator, body);

    private protected async Task<IReadOnlyList<JsonElement>> ParkedAsync() =>
        [.. (await Hub.One.AskAsync(HttpMethod.Get, $"{Path}/{Name}/parked", Hub.Administrator)).Body.GetProperty("items").EnumerateArray()];

    private protected Task<long> PositionAsync(Delivery delivery) => Task.FromResult(Hub.PositionOf(delivery));

    private protected async Task<string> AllowAsync(string partner, params SharedEvents[] events)
    {
        var token = await Hub.One.LetInAsync(partner, Roles.Partner);
        await Hub.One.ActivateAsync(partner, Terms(events) with { Title = Guid.NewGuid().ToString(), Partner = new("Partner", [partner]), To = null });
        return token;
    }

    // Claims as a reader of a node would that ends without a word.
    private protected async Task<IReadOnlyList<Claimed>> ClaimAsync(AccessServer node, Guid reader, int most)
    {
        var access = Access(node);
        var finding = node.Services.GetRequiredService<Finding>();
        var subscription = (await Subscription.FindAsync(Hub.Store.Database, Name, default))!;
        return (await Eventually.Is(() => finding.NextAsync(subscription, reader, most, most, access, false, default), found => found.Claimed.Count > 0)).Claimed;
    }

    private protected FeedAccess Access(AccessServer node) => new(
        Reader.OfClient("administrator", true, node.Services.GetRequiredService<Intercommunalite.Hub.Access.CurrentRights>()), "", new FeedFilter([], [], [$"{Name}/*"], []),
        node.Services.GetRequiredService<AgreementsInForce>());
}
