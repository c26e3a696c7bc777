using System.Net;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Feeds;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Xunit;

namespace Intercommunalite.Hub.Tests.Feeds.Subscriptions;

/// <summary>Two nodes of a hub, and somebody who may do everything with its subscriptions.</summary>
public sealed class SubscriptionNodes : IAsyncLifetime
{
    internal HubStore Store { get; } = new();

    internal AccessServer One { get; private set; } = null!;

    internal AccessServer Other { get; private set; } = null!;

    internal string Administrator { get; private set; } = null!;

    private Cursors _cursors = null!;

    public async Task InitializeAsync()
    {
        await Store.InitializeAsync();
        One = await AccessServer.StartAsync(Store);
        Other = await AccessServer.StartAsync(Store);
        Administrator = await One.LetInAsync("administrator", Roles.Administrator);
        _cursors = await Cursors.OfAsync(Store.Database, default);
    }

    public async Task DisposeAsync()
    {
        await One.DisposeAsync();
        await Other.DisposeAsync();
        await Store.DisposeAsync();
    }

    internal long PositionOf(Delivery delivery) => _cursors.Read(delivery.Event.Cursor).Position;

    internal async Task CreateAsync(object asked)
    {
        var answer = await One.AskAsync(HttpMethod.Post, "/api/v1/subscriptions", Administrator, asked);
        Assert.True(answer.Status == HttpStatusCode.Created, answer.Body.ToString());
    }
}
