using System.Security.Cryptography;
using System.Text;
using Intercommunalite.Contracts;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// What tells whether an act read from a file is one that is known, perhaps with other details: a correction must not become a
/// second act.
/// </summary>
/// <param name="Places">
/// Where the act would stand, each in a few words: register, place and date; register, place, year and number. Acts are looked for in
/// the same place only.
/// </param>
/// <param name="Likenesses">Two acts in a place are the same when one of these is equal: the name; first names and date of birth.</param>
/// <param name="Correct">The correction of the act of that subject: the facts as they stand in this record.</param>
internal sealed record ActKey(IReadOnlyList<string> Places, IReadOnlyList<string> Likenesses, Func<string, CloudEvent> Correct)
{
    /// <summary>A fixed word: the likenesses name a person.</summary>
    public override string ToString() => "[act]";
}

/// <summary>
/// The acts of a commune that came from files, as hashes, in <c>{commune}/known-acts.db</c>. Acts of one file are never taken for
/// corrections of each other: in real registers two persons share place, date and number.
/// </summary>
internal sealed class KnownActs : IDisposable
{
    private readonly SqliteConnection _connection;
    private readonly sqlite3_stmt _find;
    private readonly sqlite3_stmt _add;

    /// <summary>Opens, or makes, the register in a commune's directory.</summary>
    public KnownActs(string directory)
    {
        _connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = Path.Combine(directory, "known-acts.db"), Pooling = false }.ToString());
        _connection.Open();
        Execute("""
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            PRAGMA cache_size = -512;
            CREATE TABLE IF NOT EXISTS act (place TEXT NOT NULL, content BLOB NOT NULL, likenesses BLOB NOT NULL, subject TEXT NOT NULL, import BLOB NOT NULL, PRIMARY KEY (place, content)) WITHOUT ROWID;
            """);
        _find = Prepare("SELECT content, likenesses, subject, import FROM act WHERE place = ?1");
        _add = Prepare("INSERT INTO act VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET import = excluded.import");
    }

    /// <summary>
    /// Notes the acts among some records of one import, and puts in the place of those that correct an act known from another import
    /// their corrections.
    /// </summary>
    /// <param name="records">In the order of the file; those without a key stay as they are.</param>
    /// <param name="import">The import.</param>
    /// <returns>The events, in the same order.</returns>
    public List<CloudEvent> Settle(IReadOnlyList<(CloudEvent Event, ActKey? Key)> records, Guid import)
    {
        var settled = new List<CloudEvent>(records.Count);
        var by = import.ToByteArray();
        using var transaction = _connection.BeginTransaction();
        foreach (var (read, key) in records) settled.Add(key is null ? read : Settle(read, key, by));
        transaction.Commit();
        return settled;
    }

    public void Dispose()
    {
        _find.Dispose();
        _add.Dispose();
        _connection.Dispose();
    }

    private CloudEvent Settle(CloudEvent read, ActKey key, byte[] import)
    {
        Span<byte> content = stackalloc byte[16];
        read.EventId.TryWriteBytes(content, bigEndian: true, out _);
        var likenesses = Hashes(key.Likenesses);
        var subject = SubjectOf(key.Places, content, likenesses, import) ?? read.Subject;
        foreach (var place in key.Places)
        {
            raw.sqlite3_bind_text(_add, 1, place);
            raw.sqlite3_bind_blob(_add, 2, content);
            raw.sqlite3_bind_blob(_add, 3, likenesses);
            raw.sqlite3_bind_text(_add, 4, subject);
            raw.sqlite3_bind_blob(_add, 5, import);
            Step(_add);
            raw.sqlite3_reset(_add);
        }

        return subject == read.Subject ? read : key.Correct(subject);
    }

    // The subject under which the act is known; null when it is new. The same record again has the subject that it had.
    private string? SubjectOf(IReadOnlyList<string> places, ReadOnlySpan<byte> content, byte[] likenesses, byte[] import)
    {
        string? like = null;
        foreach (var place in places)
        {
            raw.sqlite3_bind_text(_find, 1, place);
            while (Step(_find))
            {
                var same = raw.sqlite3_column_blob(_find, 0).SequenceEqual(content);
                if (!same && (like is not null || raw.sqlite3_column_blob(_find, 3).SequenceEqual(import) || !Alike(raw.sqlite3_column_blob(_find, 1), likenesses))) continue;
                var subject = raw.sqlite3_column_text(_find, 2).utf8_to_string();
                if (same)
                {
                    raw.sqlite3_reset(_find);
                    return subject;
                }

                like = subject;
            }

            raw.sqlite3_reset(_find);
        }

        return like;
    }

    private static bool Alike(ReadOnlySpan<byte> one, ReadOnlySpan<byte> other)
    {
        for (var i = 0; i < one.Length && i < other.Length; i += sizeof(ulong))
        {
            if (one.Slice(i, sizeof(ulong)).SequenceEqual(other.Slice(i, sizeof(ulong)))) return true;
        }

        return false;
    }

    private static byte[] Hashes(IReadOnlyList<string> texts)
    {
        var hashes = new byte[texts.Count * sizeof(ulong)];
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        for (var i = 0; i < texts.Count; i++)
        {
            SHA256.HashData(Encoding.UTF8.GetBytes(texts[i]), hash);
            hash[..sizeof(ulong)].CopyTo(hashes.AsSpan(i * sizeof(ulong)));
        }

        return hashes;
    }

    private sqlite3_stmt Prepare(string sql)
    {
        SqliteException.ThrowExceptionForRC(raw.sqlite3_prepare_v2(_connection.Handle, sql, out var statement), _connection.Handle);
        return statement;
    }

    private bool Step(sqlite3_stmt statement)
    {
        var result = raw.sqlite3_step(statement);
        if (result is not (raw.SQLITE_ROW or raw.SQLITE_DONE)) SqliteException.ThrowExceptionForRC(raw.sqlite3_reset(statement), _connection.Handle);
        return result == raw.SQLITE_ROW;
    }

    private void Execute(string sql)
    {
        using var command = _connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }
}
