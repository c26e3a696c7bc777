using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.CivilRecords;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Feeds;
using Intercommunalite.Hub.Ingestion;
using Intercommunalite.Hub.Payments;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.Hub.Schools;
using Intercommunalite.Hub.Territory;
using Intercommunalite.Testing;
using Marten;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting.Internal;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Xunit;

// Many wait, for the database or for a time: whichever waits leaves the processors to those that work.
[assembly: CollectionBehavior(MaxParallelThreads = 3)]

namespace Intercommunalite.Hub.Tests;

/// <summary>
/// The hub's event store and figures on a real database of the test's own, for CC Bretagne Romantique, without the bus: what
/// arrives is given to <see cref="ArriveAsync(DomainEvent, string, CommuneCode?)"/>.
/// </summary>
public sealed class HubStore : IAsyncLifetime
{
    public static readonly CommuneCode Combourg = CommuneCode.Parse("35085");
    public static readonly CommuneCode Tinteniac = CommuneCode.Parse("35337");

    /// <summary>When everything happens that is given no time of its own.</summary>
    public static readonly DateTimeOffset Now = new(2026, 11, 24, 9, 30, 0, TimeSpan.Zero);

    // Made once: a copy of it is there much sooner than the tables are.
    private static readonly Lazy<Task<TestDatabase>> s_tables = new(MakeTablesAsync);

    private readonly Guid _journal = Guid.NewGuid();
    private readonly Dictionary<CommuneCode, long> _last = [];
    private readonly string? _given;
    private readonly string? _givenKeys;
    private readonly List<Projector> _nodes = [];
    private TestDatabase? _database;
    private WebApplication _hub = null!;

    public HubStore()
    {
    }

    /// <summary>Another hub on databases that are there.</summary>
    internal HubStore(string connectionString, string keys) => (_given, _givenKeys) = (connectionString, keys);

    internal Journals Journals { get; private set; } = null!;

    internal Quarantine Quarantine { get; private set; } = null!;

    internal NpgsqlDataSource Database => _hub.Services.GetRequiredService<NpgsqlDataSource>();

    internal IServiceProvider Services => _hub.Services;

    internal string ConnectionString => _given ?? _database!.ConnectionString;

    internal string KeysConnectionString => _givenKeys ?? _database!.KeysConnectionString;

    /// <summary>The hub's time: <see cref="Now"/>, until it is put on.</summary>
    internal SetTime Clock { get; } = new(Now);

    /// <summary>The settings of a hub on this store.</summary>
    internal IReadOnlyDictionary<string, string?> Settings => new Dictionary<string, string?>
    {
        ["ConnectionStrings:Hub"] = ConnectionString,
        ["ConnectionStrings:Keys"] = KeysConnectionString,
        ["Privacy:MasterKey"] = TestDatabase.MasterKey,
        ["Hub:Territory"] = "243500733",
        ["Logging:LogLevel:Default"] = "None",
    };

    /// <summary>The journals by way of other connections.</summary>
    internal Journals In(NpgsqlDataSource database) => new(database, _hub.Services.GetRequiredService<Epci>(), _hub.Services.GetRequiredService<PersonalDataStore>());

    internal IDocumentStore Store => _hub.Services.GetRequiredService<IDocumentStore>();

    public async Task InitializeAsync()
    {
        if (_given is null) _database = await (await s_tables.Value).CopyAsync();
        Build();
        if (_given is not null) await StoreSchema.ApplyAsync(Store, Database, CancellationToken.None);
        Journals = _hub.Services.GetRequiredService<Journals>();
        Quarantine = _hub.Services.GetRequiredService<Quarantine>();
    }

    public async Task DisposeAsync()
    {
        foreach (var node in _nodes) await node.StopAsync(CancellationToken.None);
        await _hub.DisposeAsync();
        if (_database is not null) await _database.DisposeAsync();
    }

    private static async Task<TestDatabase> MakeTablesAsync()
    {
        var hub = new HubStore { _database = await TestDatabase.CreateAsync() };
        AppDomain.CurrentDomain.ProcessExit += (_, _) => hub._database.DisposeAsync().AsTask().GetAwaiter().GetResult();
        hub.Build();
        await StoreSchema.ApplyAsync(hub.Store, hub.Database, CancellationToken.None);
        await hub.Database.DisposeAsync();
        await hub._hub.DisposeAsync();
        return hub._database;
    }

    private void Build()
    {
        var builder = WebApplication.CreateBuilder();
        builder.Configuration.AddInMemoryCollection(Settings);
        builder.AddTerritory().AddEventStore().AddAudit().AddPrivacy().AddCivilRecords().AddSchools().AddPayments();
        builder.Services.ConfigureMarten(options => options.Storage.ExtendedSchemaObjects.AddRange([.. Journals.Schema(), Cursors.Schema()]));
        builder.Services.AddSingleton<TimeProvider>(Clock).AddSingleton<Journals>().AddSingleton<Quarantine>();
        _hub = builder.Build();
    }

    /// <summary>An event of a commune as its connector would send it.</summary>
    public static CloudEvent Event(DomainEvent data, string subject, CommuneCode? commune = null, string? id = null) =>
        CloudEvent.Create(data, id ?? Guid.NewGuid().ToString(), new EventSource(commune ?? Combourg, "test"), subject, Now);

    /// <summary>The event arrives as the next one of its commune.</summary>
    public Task ArriveAsync(DomainEvent data, string subject, CommuneCode? commune = null) => ArriveAsync(Event(data, subject, commune));

    /// <summary>Events arrive as the next ones of their communes.</summary>
    public Task ArriveAsync(params CloudEvent[] events) => StoreAsync([.. events.Select(envelope =>
    {
        var place = envelope.Source.Commune;
        _last[place] = _last.GetValueOrDefault(place) + 1;
        return Incoming(envelope, _journal, _last[place]);
    })]);

    /// <summary>The same as a connector sends it that says how long its journal is, and when it accepted the event.</summary>
    internal static IncomingEvent Incoming(CloudEvent envelope, Guid journal, long position, long last, DateTimeOffset acceptedAt) =>
        Incoming(envelope, journal, position) with { Last = last, AcceptedAt = acceptedAt };

    internal static IncomingEvent Incoming(CloudEvent envelope, Guid journal, long position) => Incoming(
        JsonSerializer.SerializeToElement(envelope with { Journal = journal, Position = position }, ContractJson.Options), journal, position, envelope.Source.Commune);

    internal static IncomingEvent Incoming(JsonElement json, Guid journal, long position, CommuneCode commune) =>
        IncomingEvent.Of(new(commune.ToString(), journal, position, null, [json])).Single();

    internal Task<Outcome> StoreAsync(params IncomingEvent[] events) => Journals.StoreAsync(events, Clock.GetUtcNow(), CancellationToken.None);

    internal IEnumerable<ConsolidatedProjection> Projections => _hub.Services.GetServices<ConsolidatedProjection>();

    /// <summary>Everything that arrived gets into the figures.</summary>
    public async Task ProjectAsync()
    {
        await using var connection = await Database.OpenConnectionAsync();
        foreach (var projection in Projections)
        {
            while ((await projection.AdvanceAsync(connection, 1000, CancellationToken.None)).Full) continue;
        }
    }

    /// <summary>Another node of the hub runs the projections, or waits for its turn; it ends with this store.</summary>
    internal async Task<Projector> StartNodeAsync(string name, bool hostStarts = true)
    {
        var schema = Services.GetRequiredService<StoreSchema>();
        if (!schema.Applied.IsCompleted) await schema.StartAsync(CancellationToken.None);
        var configuration = new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?> { ["ConnectionStrings:Hub"] = NodeConnectionString(name) }).Build();
        var host = new ApplicationLifetime(NullLogger<ApplicationLifetime>.Instance);
        if (hostStarts) host.NotifyStarted();
        var projector = new Projector(Projections, schema, Services.GetRequiredService<AuditLog>(), configuration, host, TimeProvider.System, NullLogger<Projector>.Instance);
        _nodes.Add(projector);
        await projector.StartAsync(CancellationToken.None);
        return projector;
    }

    /// <summary>How a node connects, by whose name it is seen in the database.</summary>
    internal string NodeConnectionString(string name) => new NpgsqlConnectionStringBuilder(ConnectionString) { ApplicationName = name, Pooling = false }.ConnectionString;

    /// <summary>A projection is built anew from all events, and put into service; of communes alone, or of all.</summary>
    public async Task RebuildAsync(string projection, IReadOnlyList<string>? communes = null)
    {
        Assert.True(await Rebuilds.AskAsync(Database, projection, new("test", "a test", Communes: communes), CancellationToken.None));
        var rebuilder = new Rebuilder([.. Projections], ConnectionString, Services.GetRequiredService<AuditLog>(), TimeProvider.System, NullLogger<Rebuilder>.Instance);
        await using var session = await Database.OpenConnectionAsync();
        await ProjectAsync();
        await Eventually.Is(
            async () =>
            {
                while ((await rebuilder.TurnAsync(session, look: true, CancellationToken.None)).More) continue;
                return (await Rebuilds.AllAsync(Database, CancellationToken.None))[projection];
            },
            rebuild => !rebuild.IsActive);
        Assert.Equal("completed", (await RowsAsync($"SELECT coalesce(error, state) FROM replay.rebuild WHERE projection = '{projection}'")).Single());
    }

    /// <summary>Rows of a query, each as its values with a space between.</summary>
    public async Task<IReadOnlyList<string>> RowsAsync(string sql)
    {
        var rows = new List<string>();
        await using var command = Database.CreateCommand(sql);
        await using var reader = await command.ExecuteReaderAsync();
        while (await reader.ReadAsync())
            rows.Add(string.Join(' ', Enumerable.Range(0, reader.FieldCount).Select(column => reader.IsDBNull(column) ? "-" : Convert.ToString(reader.GetValue(column), System.Globalization.CultureInfo.InvariantCulture))));
        return rows;
    }
}

/// <summary>A time that stands where it is put.</summary>
internal sealed class SetTime(DateTimeOffset now) : TimeProvider
{
    public DateTimeOffset Now { get; set; } = now;

    public override DateTimeOffset GetUtcNow() => Now;
}
