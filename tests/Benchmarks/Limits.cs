using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Intercommunalite.Cli;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Npgsql;
using NpgsqlTypes;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;

namespace Intercommunalite.Benchmarks;

/// <summary>How fast this machine does one part of the work, with nothing else to do.</summary>
/// <param name="Name">The part.</param>
/// <param name="EventsPerSecond">Events a second.</param>
/// <param name="CpuMicroseconds">CPU time for an event, of the servers and of this process.</param>
/// <param name="Needed">Whether the pipeline does this with each event, or the like of it.</param>
internal sealed record Limit(string Name, double EventsPerSecond, double CpuMicroseconds, bool Needed);

/// <summary>
/// What the servers and the machine can do at best, measured in the same run with the same events: no pipeline of these parts
/// can be faster than any of them.
/// </summary>
internal sealed class Limits(Pipeline pipeline, CancellationToken cancellation)
{
    private const int MostEvents = 200_000;
    private const int RowsInATransaction = 2_000;
    private const int MessagesUnderWay = 32;

    // The queue is done with 200,000 events in less than a second.
    private const int RoundsOnTheBus = 3;
    private const string Columns = "seq_id, id, stream_id, version, data, type, timestamp, tenant_id, mt_dotnet_type, headers, is_archived";

    private readonly List<Limit> _found = [];

    /// <summary>
    /// The parts that each event needs, put together: what a pipeline without anything else in it would come to, if it kept
    /// every core busy.
    /// </summary>
    public static Limit Together(IReadOnlyList<Limit> limits)
    {
        var needed = limits.Where(limit => limit.Needed).Sum(limit => limit.CpuMicroseconds);
        return new("The parts marked *, one after the other", Environment.ProcessorCount * 1e6 / needed, needed, Needed: false);
    }

    /// <summary>Measures all of them; hub and connectors must be stopped.</summary>
    /// <param name="batches">Requests, as they were posted.</param>
    /// <param name="inFlight">Requests at once.</param>
    public async Task<IReadOnlyList<Limit>> RunAsync(IReadOnlyList<Batch> batches, int inFlight)
    {
        // What the hub has left behind is not to be cleaned up meanwhile.
        await ExecuteAsync("VACUUM (ANALYZE) hub.mt_events");
        await ExecuteAsync("CHECKPOINT");
        var taken = 0;
        batches = [.. batches.TakeWhile(batch => (taken += batch.Events) <= MostEvents)];
        await HttpAsync(batches, inFlight);
        await BusAsync(batches);
        var rows = await ReadAsync();
        await DatabaseAsync(rows);
        return _found;
    }

    private async Task HttpAsync(IReadOnlyList<Batch> batches, int inFlight)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        await using var app = builder.Build();
        app.Run(ParseAsync);
        await app.StartAsync(cancellation);
        var address = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single());
        await MeasureAsync("HTTP request, read and parsed", needed: true, Events(batches), () =>
            Throughput.SendAsync(batches, inFlight, batch => pipeline.PostAsync(new Uri(address, $"/{batch.Commune}"), batch, cancellation)));
    }

    private static async Task ParseAsync(HttpContext context)
    {
        var commune = CommuneCode.Parse(context.Request.Path.Value![1..]);
        using var body = await JsonDocument.ParseAsync(context.Request.Body, cancellationToken: context.RequestAborted);
        var events = body.RootElement.ValueKind == JsonValueKind.Array ? body.RootElement.EnumerateArray().AsEnumerable() : [body.RootElement];
        foreach (var json in events)
        {
            if (!EventReader.TryRead(json, commune, out _, out _)) throw new InvalidOperationException("An event is not valid.");
        }

        context.Response.StatusCode = StatusCodes.Status202Accepted;
    }

    private async Task BusAsync(IReadOnlyList<Batch> batches)
    {
        // The events of a segment as the connectors send it; the envelope around them is small beside 200 events.
        var messages = batches.Select(batch => (batch.Events, Body: Encoding.UTF8.GetBytes(
            $$"""{"commune":"{{batch.Commune}}","journal":"{{Guid.Empty}}","firstPosition":1,"events":{{Encoding.UTF8.GetString(batch.Body)}}}"""))).ToArray();
        const string Queue = "benchmark";
        await using var connection = await new ConnectionFactory { Uri = pipeline.Bus }.CreateConnectionAsync(cancellation);
        await using var channel = await connection.CreateChannelAsync(
            new CreateChannelOptions(publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: true), cancellation);
        await channel.QueueDeclareAsync(
            Queue, durable: true, exclusive: false, autoDelete: false,
            new Dictionary<string, object?> { ["x-queue-type"] = "quorum", ["x-delivery-limit"] = BusNames.DeliveryLimit }, cancellationToken: cancellation);

        var all = Enumerable.Repeat(messages, RoundsOnTheBus).SelectMany(round => round).ToArray();
        await MeasureAsync("Quorum queue, published and confirmed", needed: true, all.Sum(message => message.Events), async () =>
        {
            var next = -1;
            await Task.WhenAll(Enumerable.Range(0, MessagesUnderWay).Select(async _ =>
            {
                while (Interlocked.Increment(ref next) is var i && i < all.Length)
                {
                    var properties = new BasicProperties { Persistent = true };
                    await channel.BasicPublishAsync("", Queue, mandatory: true, properties, all[i].Body, cancellation);
                }
            }));
        });

        await MeasureAsync("Quorum queue, taken and acknowledged", needed: true, all.Sum(message => message.Events), async () =>
        {
            var (left, done) = (all.Length, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
            await channel.BasicQosAsync(0, MessagesUnderWay, global: false, cancellation);
            var consumer = new AsyncEventingBasicConsumer(channel);
            consumer.ReceivedAsync += async (_, delivery) =>
            {
                await channel.BasicAckAsync(delivery.DeliveryTag, multiple: false, cancellation);
                if (Interlocked.Decrement(ref left) == 0) done.SetResult();
            };
            await channel.BasicConsumeAsync(Queue, autoAck: false, consumer, cancellation);
            await done.Task.WaitAsync(cancellation);
        });
        await channel.QueueDeleteAsync(Queue, cancellationToken: cancellation);
    }

    // A stored event, as it stands in the table.
    private sealed record Row(long Sequence, Guid Id, string Stream, long Version, byte[] Data, string Type, string DotNetType, byte[] Headers);

    private async Task<List<Row>> ReadAsync()
    {
        var rows = new List<Row>(MostEvents);
        var count = (int)Math.Min(MostEvents, await pipeline.CountAsync("SELECT count(*) FROM hub.mt_events", cancellation));
        await MeasureAsync("All events read from the store", needed: true, count, async () =>
        {
            await using var command = pipeline.DataSource.CreateCommand(
                $"SELECT seq_id, id, stream_id, version, data, type, mt_dotnet_type, headers FROM hub.mt_events ORDER BY seq_id LIMIT {count}");
            await using var reader = await command.ExecuteReaderAsync(cancellation);
            while (await reader.ReadAsync(cancellation))
            {
                rows.Add(new(
                    reader.GetInt64(0), reader.GetGuid(1), reader.GetString(2), reader.GetInt64(3), reader.GetFieldValue<byte[]>(4), reader.GetString(5),
                    reader.GetString(6), reader.GetFieldValue<byte[]>(7)));
            }
        });
        await MeasureAsync("Their facts parsed, on one core", needed: true, count, () =>
        {
            foreach (var row in rows) JsonSerializer.Deserialize(row.Data, Catalogue.Find(row.Type)!.Record, ContractJson.Options);
            return Task.CompletedTask;
        });
        return rows;
    }

    private async Task DatabaseAsync(List<Row> rows)
    {
        await ExecuteAsync("CREATE SCHEMA benchmark");
        await WriteAsync("Inserted with the store's indexes", needed: true, "INCLUDING ALL", InsertAsync, rows);
        await WriteAsync("Inserted without indexes", needed: false, "INCLUDING DEFAULTS", InsertAsync, rows);
        await WriteAsync("Copied (binary) with the store's indexes", needed: false, "INCLUDING ALL", CopyAsync, rows);
        await WriteAsync("Copied (binary) without indexes", needed: false, "INCLUDING DEFAULTS", CopyAsync, rows);
        await ExecuteAsync("DROP SCHEMA benchmark");
    }

    // On one connection, as the hub does it, each part on disk before the next begins.
    private async Task WriteAsync(string name, bool needed, string indexes, Func<NpgsqlConnection, List<Row>, Task> write, List<Row> rows)
    {
        await ExecuteAsync($"CREATE TABLE benchmark.event (LIKE hub.mt_events {indexes})");
        await using var connection = await pipeline.DataSource.OpenConnectionAsync(cancellation);
        await MeasureAsync(name, needed, rows.Count, async () =>
        {
            for (var from = 0; from < rows.Count; from += RowsInATransaction)
                await write(connection, rows.GetRange(from, Math.Min(RowsInATransaction, rows.Count - from)));
        });
        var written = await pipeline.CountAsync("SELECT count(*) FROM benchmark.event", cancellation);
        if (written != rows.Count) throw new Failure($"{name}: {written} rows are there, {rows.Count} expected.");
        await ExecuteAsync("DROP TABLE benchmark.event");
        await ExecuteAsync("CHECKPOINT");
    }

    private async Task InsertAsync(NpgsqlConnection connection, List<Row> rows)
    {
        await using var command = new NpgsqlCommand($"""
            INSERT INTO benchmark.event ({Columns})
            SELECT seq, id, stream, version, data, type, now(), '*DEFAULT*', dotnet, headers, FALSE
            FROM unnest($1::bigint[], $2::uuid[], $3::varchar[], $4::bigint[], $5::jsonb[], $6::varchar[], $7::varchar[], $8::jsonb[])
                AS given (seq, id, stream, version, data, type, dotnet, headers)
            """, connection);
        Add(NpgsqlDbType.Bigint, row => row.Sequence);
        Add(NpgsqlDbType.Uuid, row => row.Id);
        Add(NpgsqlDbType.Varchar, row => row.Stream);
        Add(NpgsqlDbType.Bigint, row => row.Version);
        Add(NpgsqlDbType.Jsonb, row => row.Data);
        Add(NpgsqlDbType.Varchar, row => row.Type);
        Add(NpgsqlDbType.Varchar, row => row.DotNetType);
        Add(NpgsqlDbType.Jsonb, row => row.Headers);
        await command.ExecuteNonQueryAsync(cancellation);

        void Add<T>(NpgsqlDbType type, Func<Row, T> value) =>
            command.Parameters.Add(new() { Value = rows.Select(value).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | type });
    }

    private async Task CopyAsync(NpgsqlConnection connection, List<Row> rows)
    {
        await using var copy = await connection.BeginBinaryImportAsync($"COPY benchmark.event ({Columns}) FROM STDIN (FORMAT BINARY)", cancellation);
        var now = DateTimeOffset.UtcNow;
        foreach (var row in rows)
        {
            await copy.StartRowAsync(cancellation);
            await copy.WriteAsync(row.Sequence, NpgsqlDbType.Bigint, cancellation);
            await copy.WriteAsync(row.Id, NpgsqlDbType.Uuid, cancellation);
            await copy.WriteAsync(row.Stream, NpgsqlDbType.Varchar, cancellation);
            await copy.WriteAsync(row.Version, NpgsqlDbType.Bigint, cancellation);
            await copy.WriteAsync(row.Data, NpgsqlDbType.Jsonb, cancellation);
            await copy.WriteAsync(row.Type, NpgsqlDbType.Varchar, cancellation);
            await copy.WriteAsync(now, NpgsqlDbType.TimestampTz, cancellation);
            await copy.WriteAsync("*DEFAULT*", NpgsqlDbType.Varchar, cancellation);
            await copy.WriteAsync(row.DotNetType, NpgsqlDbType.Varchar, cancellation);
            await copy.WriteAsync(row.Headers, NpgsqlDbType.Jsonb, cancellation);
            await copy.WriteAsync(false, NpgsqlDbType.Boolean, cancellation);
        }

        await copy.CompleteAsync(cancellation);
    }

    private async Task ExecuteAsync(string sql)
    {
        await using var command = pipeline.DataSource.CreateCommand(sql);
        await command.ExecuteNonQueryAsync(cancellation);
    }

    private async Task MeasureAsync(string name, bool needed, int events, Func<Task> work)
    {
        var (cpu, begin) = (Cpu(), Stopwatch.GetTimestamp());
        await work();
        var seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
        _found.Add(new(name, events / seconds, (Cpu() - cpu) * 1e6 / events, needed));
        double Cpu() => pipeline.Processes.Read().Sum(usage => usage.CpuSeconds);
    }

    private static int Events(IEnumerable<Batch> batches) => batches.Sum(batch => batch.Events);
}
