using System.Collections.Concurrent;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Intercommunalite.Hub.Tests.Feeds.Webhooks;

/// <summary>Two nodes of a hub that may bring to this machine, with what they wrote to the log.</summary>
public sealed class WebhookNodes : IAsyncLifetime, ILoggerProvider, ILogger
{
    /// <summary>What the two nodes wrote to the log.</summary>
    internal ConcurrentQueue<string> Logged { get; } = new();

    internal HubStore Store { get; } = new();

    internal TestAuthority Authority { get; } = new();

    internal AccessServer One { get; private set; } = null!;

    internal AccessServer Other { get; private set; } = null!;

    internal string Administrator { get; private set; } = null!;

    internal static (string Key, string Value)[] Settings(TestAuthority authority) =>
    [
        ("Webhooks:AllowedNetworks", "127.0.0.1/32, ::1/128"), ("Webhooks:Origin", "hub.example"), ("Webhooks:Timeout", "00:00:05"), ("Webhooks:LongestWait", "00:00:01"),
        ("Webhooks:AlertAfter", "00:00:02"), ("Webhooks:Ca", authority.File), ("Logging:LogLevel:Intercommunalite.Hub.Feeds.Webhooks", "Information"),
    ];

    public async Task InitializeAsync()
    {
        await Store.InitializeAsync();
        One = await AccessServer.StartAsync(Store, Settings(Authority));
        Other = await AccessServer.StartAsync(Store, Settings(Authority));
        foreach (var node in new[] { One, Other }) node.Services.GetRequiredService<ILoggerFactory>().AddProvider(this);
        Administrator = await One.LetInAsync("administrator", Roles.Administrator);
    }

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Logged.Enqueue(formatter(state, exception));

    void IDisposable.Dispose()
    {
        // The nodes end by themselves.
    }

    public async Task DisposeAsync()
    {
        await One.DisposeAsync();
        await Other.DisposeAsync();
        Authority.Dispose();
        await Store.DisposeAsync();
    }
}
