namespace Intercommunalite.Cli.Simulate;

/// <summary>Plays a period of the past, several communes at a time, each in order of time.</summary>
internal static class Backfill
{
    private const int CommunesAtATime = 8;

    public static async Task RunAsync(
        IReadOnlyList<CommuneSoftware> communes,
        Period period,
        Outbox outbox,
        Action<Advance> report,
        TimeProvider time,
        CancellationToken cancellation)
    {
        var started = time.GetTimestamp();
        double done = 0, total = communes.Sum(software => (double)software.Commune.Population);
        var turn = new Lock();
        // The largest first: they take longest.
        await Parallel.ForEachAsync(
            communes.OrderByDescending(software => software.Commune.Population),
            new ParallelOptions { MaxDegreeOfParallelism = CommunesAtATime, CancellationToken = cancellation },
            async (software, token) =>
            {
                var doneHere = 0.0;
                foreach (var batch in software.Play(period).Chunk(Delivery.MostEvents))
                {
                    token.ThrowIfCancellationRequested();
                    await outbox.SendAsync(software.Commune.Code, batch, token);
                    Report(software, ref doneHere, (batch[^1].Time - FrenchTime.At(period.SchoolsFrom, 0)) / Length(period));
                }

                Report(software, ref doneHere, 1);
            });

        void Report(CommuneSoftware software, ref double before, double share)
        {
            lock (turn) done += (share - before) * software.Commune.Population;
            before = share;
            var events = outbox.Tally.Events;
            report(new(done, total, $"{events:N0} events, {events / Math.Max(0.001, time.GetElapsedTime(started).TotalSeconds):N0}/s"));
        }
    }

    private static TimeSpan Length(Period period) => FrenchTime.At(period.Through.AddDays(1), 0) - FrenchTime.At(period.SchoolsFrom, 0);
}
