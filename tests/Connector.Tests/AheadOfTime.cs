namespace Intercommunalite.Connector.Tests;

/// <summary>The time as it is, or later.</summary>
internal sealed class AheadOfTime : TimeProvider
{
    private long _ahead;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override DateTimeOffset GetUtcNow() => System.GetUtcNow().AddTicks(Volatile.Read(ref _ahead));

    public override long GetTimestamp() => System.GetElapsedTime(0).Ticks + Volatile.Read(ref _ahead);

    public void Advance(TimeSpan by) => Interlocked.Add(ref _ahead, by.Ticks);
}
