using System.Text.Json;
using Google.Protobuf.WellKnownTypes;
using Intercommunalite.Hub.EventStore;
using Npgsql;

namespace Intercommunalite.Hub.Feeds;

/// <summary>An event as it stands in the store, without personal data; read once for all readers who get something of it.</summary>
internal sealed class StoredRow
{
    /// <summary>SQL of the columns that <see cref="Of"/> reads. The store writes its times as UTC into the session's time zone.</summary>
    public const string Columns = "seq_id, id, stream_id, type, data::text, headers::text, timestamp::timestamp";

    private StoredRow(NpgsqlDataReader reader, Cursors cursors)
    {
        Place = new(reader.GetInt64(0), reader.GetGuid(1));
        Cursor = cursors.Of(Place);
        Stream = reader.GetString(2);
        var record = Stream.Split('/', 3);
        (Commune, Subject) = (record[0], record[2]);
        Type = reader.GetString(3);
        Data = reader.GetString(4);
        var text = reader.GetString(5);
        using var headers = JsonDocument.Parse(text);
        Id = headers.RootElement.GetProperty(EventHeaders.Id).GetString()!;
        Source = headers.RootElement.GetProperty(EventHeaders.Source).GetString()!;
        Time = headers.RootElement.GetProperty(EventHeaders.Time).GetString()!;
        TraceParent = headers.RootElement.TryGetProperty(EventHeaders.TraceParent, out var trace) ? trace.GetString()! : "";
        Recorded = Timestamp.FromDateTime(DateTime.SpecifyKind(reader.GetDateTime(6), DateTimeKind.Utc));
        Size = 300 + Data.Length + text.Length;
    }

    public Place Place { get; }

    public string Cursor { get; }

    /// <summary>The record's key: <c>{commune}/{domain}/{subject}</c>.</summary>
    public string Stream { get; }

    public string Commune { get; }

    public string Subject { get; }

    public string Type { get; }

    /// <summary>All facts, as JSON.</summary>
    public string Data { get; }

    public string Id { get; }

    public string Source { get; }

    public string Time { get; }

    public string TraceParent { get; }

    public Timestamp Recorded { get; }

    /// <summary>About as many characters as it takes in memory.</summary>
    public int Size { get; }

    /// <summary>Reads the row on which the reader is.</summary>
    public static StoredRow Of(NpgsqlDataReader reader, Cursors cursors) => new(reader, cursors);
}
