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
/// <remarks>
/// The hashes are keyed with the random key in <c>known-acts.key</c> beside it. The subject, as the event has it, is not: it ends with a hash
/// without a key, by which whoever knows somebody's data can find the act. An act is known for as long as the catalogue lets acts' persons be kept, from when a file last had it.
/// </remarks>
internal sealed class KnownActs : IDisposable
{
    // Of the database's form: 1 has keyed hashes, and the day on which a file last had the act.
    private const int Form = 1;
    private const int KeyLength = 32;

    private static readonly int s_months = Catalogue.All.Where(type => type.Domain == "civil-records").Max(type => type.Personal?.Months ?? 0);

    private readonly SqliteConnection _connection;
    private readonly sqlite3_stmt _find;
    private readonly sqlite3_stmt _add;
    private readonly byte[] _key;
    private readonly int _today;

    /// <summary>Opens, or makes, the register in a commune's directory; what is past its time is deleted.</summary>
    /// <param name="directory">The commune's directory.</param>
    /// <param name="today">The day.</param>
    public KnownActs(string directory, DateOnly today)
    {
        _today = today.DayNumber;
        _key = KeyIn(directory);
        _connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = Path.Combine(directory, "known-acts.db"), Pooling = false }.ToString());
        _connection.Open();
        Execute("""
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            PRAGMA cache_size = -512;
            PRAGMA secure_delete = ON;
            CREATE TABLE IF NOT EXISTS act (place TEXT NOT NULL, content BLOB NOT NULL, likenesses BLOB NOT NULL, subject TEXT NOT NULL, import BLOB NOT NULL, PRIMARY KEY (place, content)) WITHOUT ROWID;
            """);
        Renew();
        Execute($"DELETE FROM act WHERE day < {today.AddMonths(-s_months).DayNumber}");
        _find = Prepare("SELECT content, likenesses, subject, import FROM act WHERE place = ?1");
        _add = Prepare("INSERT INTO act (place, content, likenesses, subject, import, day) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET import = excluded.import, day = excluded.day");
    }

    /// <summary>Deletes what is past its time from the register in a directory, if there is one.</summary>
    public static void Forget(string directory, DateOnly today)
    {
        if (File.Exists(Path.Combine(directory, "known-acts.db"))) new KnownActs(directory, today).Dispose();
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
        Keyed(content);
        var likenesses = Hashes(key.Likenesses);
        var subject = SubjectOf(key.Places, content, likenesses, import) ?? read.Subject;
        foreach (var place in key.Places)
        {
            raw.sqlite3_bind_text(_add, 1, place);
            raw.sqlite3_bind_blob(_add, 2, content);
            raw.sqlite3_bind_blob(_add, 3, likenesses);
            raw.sqlite3_bind_text(_add, 4, subject);
            raw.sqlite3_bind_blob(_add, 5, import);
            raw.sqlite3_bind_int(_add, 6, _today);
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

    private byte[] Hashes(IReadOnlyList<string> texts)
    {
        var hashes = new byte[texts.Count * sizeof(ulong)];
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        for (var i = 0; i < texts.Count; i++)
        {
            SHA256.HashData(Encoding.UTF8.GetBytes(texts[i]), hash);
            Keyed(hash[..sizeof(ulong)]);
            hash[..sizeof(ulong)].CopyTo(hashes.AsSpan(i * sizeof(ulong)));
        }

        return hashes;
    }

    // Puts a keyed hash in the place of a hash. Over the hash and not over the names, so that a register from before could be renewed.
    private void Keyed(Span<byte> hash)
    {
        Span<byte> keyed = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(_key, hash, keyed);
        keyed[..hash.Length].CopyTo(hash);
    }

    private static byte[] KeyIn(string directory)
    {
        var path = Path.Combine(directory, "known-acts.key");
        if (File.Exists(path) && File.ReadAllBytes(path) is { Length: KeyLength } kept) return kept;
        // Of two imports at once one makes it, and the other one takes that.
        var mine = $"{path}.{Guid.NewGuid():N}";
        var key = RandomNumberGenerator.GetBytes(KeyLength);
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows()) options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        using (var file = new FileStream(mine, options))
        {
            file.Write(key);
            file.Flush(flushToDisk: true);
        }

        try
        {
            File.Move(mine, path);
            return key;
        }
        catch (IOException) when (File.Exists(path))
        {
            File.Delete(mine);
            return File.ReadAllBytes(path) is { Length: KeyLength } theirs
                ? theirs
                : throw new IOException($"{path} is damaged: put a backup of it back. Without one, delete it together with known-acts.db: records of files sent again are then told anew.");
        }
    }

    // A register from before had hashes without a key and acts without an end: theirs begins today.
    private void Renew()
    {
        using var form = _connection.CreateCommand();
        form.CommandText = "PRAGMA user_version";
        if ((long)form.ExecuteScalar()! >= Form) return;
        var acts = new List<(string Place, byte[] Old, byte[] Content, byte[] Likenesses)>();
        using (var all = _connection.CreateCommand())
        {
            all.CommandText = "SELECT place, content, likenesses FROM act";
            using var reader = all.ExecuteReader();
            while (reader.Read())
            {
                var (old, likenesses) = ((byte[])reader[1], (byte[])reader[2]);
                var content = old.ToArray();
                Keyed(content);
                for (var i = 0; i < likenesses.Length; i += sizeof(ulong)) Keyed(likenesses.AsSpan(i, sizeof(ulong)));
                acts.Add((reader.GetString(0), old, content, likenesses));
            }
        }

        using var transaction = _connection.BeginTransaction();
        Execute($"ALTER TABLE act ADD COLUMN day INTEGER NOT NULL DEFAULT {_today}", transaction);
        using (var update = _connection.CreateCommand())
        {
            update.Transaction = transaction;
            update.CommandText = "UPDATE act SET content = $content, likenesses = $likenesses WHERE place = $place AND content = $old";
            foreach (var name in (string[])["$place", "$old", "$content", "$likenesses"]) update.Parameters.Add(name, name == "$place" ? SqliteType.Text : SqliteType.Blob);
            foreach (var act in acts)
            {
                (update.Parameters[0].Value, update.Parameters[1].Value, update.Parameters[2].Value, update.Parameters[3].Value) = (act.Place, act.Old, act.Content, act.Likenesses);
                update.ExecuteNonQuery();
            }
        }

        Execute($"PRAGMA user_version = {Form}", transaction);
        transaction.Commit();
        // What the pages still hold of the hashes from before.
        Execute("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
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

    private void Execute(string sql, SqliteTransaction? transaction = null)
    {
        using var command = _connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }
}
