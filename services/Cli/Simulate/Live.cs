using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;

namespace Intercommunalite.Cli.Simulate;

/// <summary>Sends events as they happen, until it is interrupted.</summary>
internal static class Live
{
    private static readonly TimeSpan s_tick = TimeSpan.FromMilliseconds(100);

    // After a stop of the connectors the time lost is not made up for beyond this.
    private static readonly TimeSpan s_longestTick = TimeSpan.FromSeconds(2);

    /// <summary>Declares the schools of the running school year, as the backfill does: for runs without one.</summary>
    public static async Task DeclareSchoolsAsync(
        IEnumerable<CommuneSoftware> communes, Outbox outbox, DateTimeOffset now, CancellationToken cancellation)
    {
        var opening = SchoolCalendar.Opening(SchoolCalendar.YearOf(FrenchTime.DayOf(now)));
        var period = new Period(opening, opening.AddDays(13), FrenchTime.At(opening.AddDays(14), 0));
        foreach (var software in communes)
        {
            foreach (var batch in software.Play(period).Where(e => e.Data is SchoolDeclared).Chunk(Delivery.MostEvents))
                await outbox.SendAsync(software.Commune.Code, batch, cancellation);
        }
    }

    public static async Task RunAsync(
        LiveEvents events,
        double rate,
        IReadOnlySet<CommuneCode> served,
        Outbox outbox,
        Action<Advance> report,
        TimeProvider time,
        CancellationToken cancellation)
    {
        var dice = new Dice((ulong)time.GetUtcNow().Ticks);
        var (sent, started, last) = (0L, time.GetTimestamp(), time.GetTimestamp());
        while (true)
        {
            await Task.Delay(s_tick, time, cancellation);
            var now = time.GetTimestamp();
            var elapsed = time.GetElapsedTime(last, now);
            last = now;
            var count = dice.Count(rate * (elapsed < s_longestTick ? elapsed : s_longestTick).TotalSeconds);
            var due = Enumerable.Range(0, count).Select(_ => Served(events, served, time.GetUtcNow())).ToLookup(e => e.Commune);
            await Task.WhenAll(due.Select(async ofCommune =>
            {
                foreach (var batch in ofCommune.Chunk(Delivery.MostEvents)) await outbox.SendAsync(ofCommune.Key, batch, cancellation);
            }));
            sent += count;
            var perSecond = sent / Math.Max(0.001, time.GetElapsedTime(started).TotalSeconds);
            report(new(0, 0, $"{sent:N0} events, {perSecond:N1}/s; Ctrl-C ends"));
        }
    }

    private static SimulatedEvent Served(LiveEvents events, IReadOnlySet<CommuneCode> served, DateTimeOffset now)
    {
        while (true)
        {
            var next = events.Next(now);
            if (served.Contains(next.Commune)) return next;
        }
    }
}
