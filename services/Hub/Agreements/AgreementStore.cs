using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.Territory;
using JasperFx;
using JasperFx.Events;
using Marten;
using Npgsql;
using Weasel.Core;

namespace Intercommunalite.Hub.Agreements;

/// <summary>
/// The agreements: events of a store of their own (schema <c>agreements</c>), a stream for each, so that feed, figures and exports,
/// which read the events of the territory, know nothing of them.
/// </summary>
internal sealed class AgreementStore(NpgsqlDataSource database, AuditLog audit, TimeProvider time, TerritoryClock clock) : IDisposable
{
    /// <summary>PostgreSQL notification that an agreement has changed.</summary>
    public const string Channel = "agreements_changed";

    /// <summary>SQL of a number that grows with every change.</summary>
    public const string Revision = "SELECT coalesce(max(seq_id), 0) FROM agreements.mt_events";

    // Changes are rare, and one waits for the other: who decides sees all that was decided before.
    private const int LockKey = 1_870_245;

    private static readonly (Type Event, string Name)[] s_names =
    [
        (typeof(AgreementDrafted), "agreement-drafted.v1"),
        (typeof(AgreementActivated), "agreement-activated.v1"),
        (typeof(AgreementSuspended), "agreement-suspended.v1"),
        (typeof(AgreementResumed), "agreement-resumed.v1"),
        (typeof(AgreementEnded), "agreement-ended.v1"),
    ];

    private readonly DocumentStore _store = DocumentStore.For(options => Configure(options, database));

    /// <summary>Its tables and functions, for the schema of the database.</summary>
    public IEnumerable<ISchemaObject> Schema => _store.Storage.Database.AllObjects();

    /// <summary>All agreements, by id.</summary>
    public async Task<IReadOnlyList<Agreement>> AllAsync(CancellationToken cancellation)
    {
        await using var session = _store.QuerySession();
        var events = await session.Events.QueryAllRawEvents().OrderBy(happened => happened.Sequence).ToListAsync(cancellation);
        return [.. events.GroupBy(happened => happened.StreamKey!, StringComparer.Ordinal).Select(Read).OrderBy(agreement => agreement.Id, StringComparer.Ordinal)];
    }

    /// <summary>An agreement, or null.</summary>
    public async Task<Agreement?> FindAsync(string id, CancellationToken cancellation)
    {
        await using var session = _store.QuerySession();
        return await FindAsync(session, id, cancellation);
    }

    /// <summary>Something is decided and happens, with its entry in the audit, or not at all.</summary>
    /// <param name="id">The agreement.</param>
    /// <param name="who">The caller's id.</param>
    /// <param name="why">The reason given.</param>
    /// <param name="decide">Decides, given the agreement as it is (null when there is none) and who acts.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <returns>The agreement as it is now, and why nothing happened if nothing did.</returns>
    public async Task<(Agreement? Agreement, string? Refused)> ChangeAsync(
        string id, string who, string? why, Func<Agreement?, Act, Decision> decide, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await using (var alone = new NpgsqlCommand($"SELECT pg_advisory_xact_lock({LockKey})", connection)) await alone.ExecuteNonQueryAsync(cancellation);
        await using var session = _store.LightweightSession(Marten.Services.SessionOptions.ForTransaction(transaction));
        var agreement = await FindAsync(session, id, cancellation);
        var decision = decide(agreement, new Act(who, time.GetUtcNow(), clock.Today, why));
        if (decision.Event is not { } happens) return (agreement, decision.Refused);
        session.Events.Append(id, happens);
        await session.SaveChangesAsync(cancellation);
        await audit.AppendAsync(connection, Entry(id, happens), cancellation);
        await using (var notify = new NpgsqlCommand($"NOTIFY {Channel}", connection)) await notify.ExecuteNonQueryAsync(cancellation);
        await transaction.CommitAsync(cancellation);
        return (Agreement.Of(id, [.. agreement?.Events ?? [], happens]), null);
    }

    /// <inheritdoc/>
    public void Dispose() => _store.Dispose();

    private static async Task<Agreement?> FindAsync(IQuerySession session, string id, CancellationToken cancellation) =>
        Agreement.Of(id, (await session.Events.FetchStreamAsync(id, token: cancellation)).Select(happened => (AgreementEvent)happened.Data));

    private static Agreement Read(IGrouping<string, IEvent> stream) => Agreement.Of(stream.Key, stream.Select(happened => (AgreementEvent)happened.Data))!;

    // Acts have the names of the events: agreements.activated.
    private static AuditEntry Entry(string id, AgreementEvent happens)
    {
        var act = s_names.Single(named => named.Event == happens.GetType()).Name["agreement-".Length..^".v1".Length];
        var version = happens switch { AgreementDrafted drafted => drafted.Version, AgreementActivated activated => activated.Version, _ => (int?)null };
        return new(happens.By, $"agreements.{act}", id, happens.Why, version is { } number ? new JsonObject { ["version"] = number } : null);
    }

    private static void Configure(StoreOptions options, NpgsqlDataSource database)
    {
        options.Connection(database);
        options.DatabaseSchemaName = "agreements";
        // The tables are made with those of the territory's store.
        options.AutoCreateSchemaObjects = AutoCreate.None;
        options.Serializer(new Marten.Services.SystemTextJsonSerializer(StoredJson()) { Casing = Casing.CamelCase });
        options.Events.StreamIdentity = StreamIdentity.AsString;
        options.Events.AppendMode = EventAppendMode.Quick;
        foreach (var (type, name) in s_names) options.Events.MapEventType(type, name);
    }

    private static JsonSerializerOptions StoredJson()
    {
        var options = new JsonSerializerOptions { TypeInfoResolver = new DefaultJsonTypeInfoResolver() };
        ContractJson.Apply(options);
        return options;
    }
}
