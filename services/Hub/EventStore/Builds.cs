using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// The builds of the hub whose nodes are at work on this database, as while nodes are replaced one by one: of two builds the one that came
/// to this database later is the newer. It alone projects, rebuilds and changes the tables, since an older one would count otherwise what is counted anew.
/// When the newer is at work no longer, having been taken back perhaps, the older one takes over. Whichever takes over makes the tables as
/// it needs them, and rebuilds the figures when another one has written them since it did. The first time that a newer one leads it goes on from the
/// figures that there are. A node is at work once its host has started: one that fails before takes nothing from an older build.
/// </summary>
internal static class Builds
{
    // How long a build counts as being at work after its last sign; signs are given a few times within.
    private const string Silence = "interval '30 s'";
    private const string BetweenSigns = "interval '5 s'";

    private const string NewerAtWork = $"""
        SELECT EXISTS (
            SELECT FROM replay.build other WHERE other.seen_at > clock_timestamp() - {Silence}
                AND other.first_seen > (SELECT first_seen FROM replay.build WHERE build = $1))
        """;

    public static Table Schema()
    {
        var build = new Table("replay.build");
        build.AddColumn("build", "text").AsPrimaryKey();
        build.AddColumn("first_seen", "timestamptz").NotNull();
        build.AddColumn("seen_at", "timestamptz").NotNull();
        build.AddColumn("led_at", "timestamptz");
        return build;
    }

    /// <summary>Says that this build is at work, and tells whether it is the newest that is.</summary>
    public static async Task<bool> IsNewestAsync(NpgsqlConnection session, CancellationToken cancellation)
    {
        await using (var sign = new NpgsqlCommand($"""
            INSERT INTO replay.build AS b (build, first_seen, seen_at) VALUES ($1, clock_timestamp(), clock_timestamp())
            ON CONFLICT (build) DO UPDATE SET seen_at = clock_timestamp() WHERE b.seen_at < clock_timestamp() - {BetweenSigns}
            """, session))
        {
            sign.Parameters.Add(new() { Value = Rebuilder.Build });
            await sign.ExecuteNonQueryAsync(cancellation);
        }

        await using var look = new NpgsqlCommand(NewerAtWork, session);
        look.Parameters.Add(new() { Value = Rebuilder.Build });
        return !(bool)(await look.ExecuteScalarAsync(cancellation))!;
    }

    /// <summary>
    /// Whether another build wrote the figures since this one last did: they may be counted otherwise. Of one that never did, whether a newer
    /// one has: what an older one wrote is what it was made to go on from.
    /// </summary>
    public static async Task<bool> HasOtherWrittenAsync(NpgsqlConnection session, CancellationToken cancellation)
    {
        await using var look = new NpgsqlCommand("""
            SELECT EXISTS (SELECT FROM replay.build own JOIN replay.build other ON other.build <> own.build
                AND other.led_at > coalesce(own.led_at, CASE WHEN other.first_seen > own.first_seen THEN '-infinity' ELSE 'infinity' END::timestamptz)
                WHERE own.build = $1)
            """, session);
        look.Parameters.Add(new() { Value = Rebuilder.Build });
        return (bool)(await look.ExecuteScalarAsync(cancellation))!;
    }

    /// <summary>Says that this build writes the figures from now on.</summary>
    public static async Task LeadAsync(NpgsqlConnection session, CancellationToken cancellation)
    {
        await using var lead = new NpgsqlCommand("UPDATE replay.build SET led_at = clock_timestamp() WHERE build = $1", session);
        lead.Parameters.Add(new() { Value = Rebuilder.Build });
        await lead.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>Whether a newer build than this one is at work.</summary>
    public static async Task<bool> IsNewerAtWorkAsync(NpgsqlDataSource database, CancellationToken cancellation)
    {
        await using var look = database.CreateCommand(NewerAtWork);
        look.Parameters.Add(new() { Value = Rebuilder.Build });
        try
        {
            return (bool)(await look.ExecuteScalarAsync(cancellation))!;
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.UndefinedTable)
        {
            // The database is new.
            return false;
        }
    }
}
