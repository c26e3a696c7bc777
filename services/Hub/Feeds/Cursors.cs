using System.Buffers.Binary;
using System.Buffers.Text;
using System.Security.Cryptography;
using Grpc.Core;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Feeds;

/// <summary>Where a reader of the feed stands: behind an event of the store; the default is before the first.</summary>
/// <param name="Position">The event's position; 0 for none.</param>
/// <param name="Event">The event's identity in the store, by which it is known again.</param>
internal readonly record struct Place(long Position, Guid Event);

/// <summary>
/// Cursors as readers keep them: a <see cref="Place"/> of this store, signed. A cursor is no right: what may be read behind it is asked
/// for every page. The signature keeps readers from making positions up; the event's identity shows that the store was restored to an
/// earlier state and has come to that position by other events since.
/// </summary>
/// <remarks>
/// Base64url of: version (1 byte), store (8), position (8), beginning of the event's identity (8), beginning of the HMAC-SHA256 over
/// these (16). The store's id and key are made once, in its database: every node knows them, and so does a restored copy.
/// </remarks>
internal sealed class Cursors
{
    private const byte Version = 1;
    private const int SignedLength = 25;
    private const int Length = 41;

    private readonly long _store;
    private readonly byte[] _key;

    private Cursors(Guid store, byte[] key) => (_store, _key) = (Beginning(store), key);

    /// <summary>The cursors of a store, whose id and key are made if it has none yet.</summary>
    public static async Task<Cursors> OfAsync(NpgsqlDataSource database, CancellationToken cancellation)
    {
        await using (var make = database.CreateCommand("INSERT INTO feeds.store (one, id, key) VALUES (1, $1, $2) ON CONFLICT DO NOTHING"))
        {
            make.Parameters.Add(new() { Value = Guid.NewGuid() });
            make.Parameters.Add(new() { Value = RandomNumberGenerator.GetBytes(32) });
            await make.ExecuteNonQueryAsync(cancellation);
        }

        await using var command = database.CreateCommand("SELECT id, key FROM feeds.store");
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        await reader.ReadAsync(cancellation);
        return new(reader.GetGuid(0), reader.GetFieldValue<byte[]>(1));
    }

    /// <summary>The table with the one row.</summary>
    public static Table Schema()
    {
        var store = new Table("feeds.store");
        store.AddColumn("one", "integer").AsPrimaryKey();
        store.AddColumn("id", "uuid").NotNull();
        store.AddColumn("key", "bytea").NotNull();
        return store;
    }

    /// <summary>The cursor of a place.</summary>
    public string Of(Place place)
    {
        Span<byte> bytes = stackalloc byte[Length];
        bytes[0] = Version;
        BinaryPrimitives.WriteInt64BigEndian(bytes[1..], _store);
        BinaryPrimitives.WriteInt64BigEndian(bytes[9..], place.Position);
        BinaryPrimitives.WriteInt64BigEndian(bytes[17..], Beginning(place.Event));
        Sign(bytes[..SignedLength], bytes[SignedLength..]);
        return Base64Url.EncodeToString(bytes);
    }

    /// <summary>The place of a cursor; the beginning for an empty one.</summary>
    /// <exception cref="RpcException">It is none of this store; the reason is a trailer.</exception>
    public ClaimedPlace Read(string cursor)
    {
        if (cursor.Length == 0) return default;
        if (cursor.AsSpan().ContainsAnyExceptInRange('0', '9') is false) throw Wrong(StatusCode.FailedPrecondition, "cursor-too-old", "of a feed that gave out numbers: no longer taken");
        Span<byte> bytes = stackalloc byte[Length];
        if (!Base64Url.IsValid(cursor, out var length) || length != Length || !Base64Url.TryDecodeFromChars(cursor, bytes, out _) || bytes[0] != Version)
            throw Wrong(StatusCode.InvalidArgument, "cursor-malformed", "none that a feed gave out");
        if (BinaryPrimitives.ReadInt64BigEndian(bytes[1..]) != _store) throw Wrong(StatusCode.FailedPrecondition, "cursor-of-another-store", "of another hub's store");
        Span<byte> signature = stackalloc byte[Length - SignedLength];
        Sign(bytes[..SignedLength], signature);
        if (!CryptographicOperations.FixedTimeEquals(signature, bytes[SignedLength..])) throw Wrong(StatusCode.InvalidArgument, "cursor-malformed", "none that a feed gave out");
        return new(BinaryPrimitives.ReadInt64BigEndian(bytes[9..]), BinaryPrimitives.ReadInt64BigEndian(bytes[17..]));
    }

    /// <summary>Makes sure that the store still has the event at which a cursor stands.</summary>
    /// <exception cref="RpcException">It has not: it was restored to an earlier state. To wait there, or to go on, would pass over events in silence.</exception>
    public static async Task<Place> FindAsync(NpgsqlDataSource database, ClaimedPlace claimed, CancellationToken cancellation)
    {
        if (claimed.Position == 0) return default;
        await using var command = database.CreateCommand("SELECT id FROM hub.mt_events WHERE seq_id = $1");
        command.Parameters.Add(new() { Value = claimed.Position });
        return await command.ExecuteScalarAsync(cancellation) is Guid found && Beginning(found) == claimed.Event
            ? new(claimed.Position, found)
            : throw Error(
                StatusCode.OutOfRange, "cursor-of-another-history",
                "cursor: this hub has not, or no longer, the event at which it stands; it was restored to an earlier state. Read again from an earlier cursor or a time before.");
    }

    /// <summary>An error with its reason as a trailer, for programs.</summary>
    private static RpcException Error(StatusCode status, string reason, string detail) => new(new Status(status, detail), new Metadata { { "reason", reason } });

    private static RpcException Wrong(StatusCode status, string reason, string what) => Error(status, reason, $"cursor: {what}. Read from the beginning, or from a time.");

    // Identities are made from names by a hash: eight bytes of one are as good as any.
    private static long Beginning(Guid id)
    {
        Span<byte> bytes = stackalloc byte[16];
        id.TryWriteBytes(bytes);
        return BinaryPrimitives.ReadInt64BigEndian(bytes);
    }

    private void Sign(ReadOnlySpan<byte> text, Span<byte> signature)
    {
        Span<byte> whole = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(_key, text, whole);
        whole[..signature.Length].CopyTo(signature);
    }
}

/// <summary>What a cursor says of its place.</summary>
/// <param name="Position">The position.</param>
/// <param name="Event">Beginning of the identity of the event there.</param>
internal readonly record struct ClaimedPlace(long Position, long Event);
