using System.Diagnostics;
using Npgsql;

namespace Intercommunalite.Benchmarks;

/// <summary>What was seen in the store at one moment.</summary>
/// <param name="At">When the answer was there (<see cref="Stopwatch.GetTimestamp"/>).</param>
/// <param name="Stored">Last position in the store. One node appends, so all before it are there too.</param>
/// <param name="Projected">How far each projection is, in the order given to the watch.</param>
internal sealed record Look(long At, long Stored, long[] Projected);

/// <summary>
/// Looks at the positions of the store and of the projections again and again, on a connection and a thread of its own, and
/// keeps what it saw. What happens between two looks is seen at the later one: times are late by a look's interval at most.
/// </summary>
internal sealed class Watch : IAsyncDisposable
{
    private readonly List<Look> _looks = [];
    private readonly Lock _turn = new();
    private readonly CancellationTokenSource _end = new();
    private readonly Task _looking;

    /// <summary>Begins to look.</summary>
    public Watch(Pipeline pipeline, TimeSpan interval)
    {
        Projections = [.. pipeline.Projections];
        var connection = pipeline.DataSource.OpenConnection();
        var command = Command(connection);
        _looks.Add(Look(command));
        _looking = Task.Factory.StartNew(() => Run(connection, command, interval), TaskCreationOptions.LongRunning);
    }

    public List<string> Projections { get; }

    /// <summary>What was seen last.</summary>
    public Look Last
    {
        get
        {
            // A watch that has failed would show the last look for ever.
            if (_looking.IsFaulted) _looking.GetAwaiter().GetResult();
            lock (_turn) return _looks[^1];
        }
    }

    /// <summary>When the store had a position.</summary>
    public long StoredAt(long position) => First(look => look.Stored, position);

    /// <summary>When a projection had a position.</summary>
    public long ProjectedAt(int projection, long position) => First(look => look.Projected[projection], position);

    /// <summary>When every projection had a position.</summary>
    public long ProjectedAt(long position) => First(look => look.Projected.Min(), position);

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await _looking;
        _end.Dispose();
    }

    // Positions only grow, so the first look that has it is found by halving.
    private long First(Func<Look, long> read, long position)
    {
        lock (_turn)
        {
            int low = 0, high = _looks.Count;
            while (low < high)
            {
                var middle = (low + high) / 2;
                if (read(_looks[middle]) >= position) high = middle;
                else low = middle + 1;
            }

            return low < _looks.Count ? _looks[low].At : throw new InvalidOperationException($"Position {position} was not seen.");
        }
    }

    private void Run(NpgsqlConnection connection, NpgsqlCommand command, TimeSpan interval)
    {
        using (connection)
        using (command)
        {
            while (!_end.Token.WaitHandle.WaitOne(interval))
            {
                var look = Look(command);
                lock (_turn) _looks.Add(look);
            }
        }
    }

    private static NpgsqlCommand Command(NpgsqlConnection connection)
    {
        var command = new NpgsqlCommand(
            "SELECT name, last_seq_id FROM hub.mt_event_progression UNION ALL SELECT '', coalesce(max(seq_id), 0) FROM hub.mt_events", connection);
        command.Prepare();
        return command;
    }

    private Look Look(NpgsqlCommand command)
    {
        var (stored, projected) = (0L, new long[Projections.Count]);
        using (var reader = command.ExecuteReader())
        {
            while (reader.Read())
            {
                var (name, position) = (reader.GetString(0), reader.GetInt64(1));
                if (name.Length == 0) stored = position;
                for (var i = 0; i < projected.Length; i++)
                {
                    if (name == $"{Projections[i]}:All") projected[i] = position;
                }
            }
        }

        return new(Stopwatch.GetTimestamp(), stored, projected);
    }
}
