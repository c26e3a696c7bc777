using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace Intercommunalite.Testing;

/// <summary>
/// Waits for what happens by itself. This is the one place where tests poll.
/// </summary>
public static class Eventually
{
    /// <summary>
    /// How long to wait when a test names no time: long for a slow machine, and never spent when all is well.
    /// </summary>
    public static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(30);

    /// <summary>
    /// Reads a value again and again until it satisfies the condition, and returns it.
    /// </summary>
    /// <param name="read">Reads the value. What it throws counts as "not yet", and is shown if the time runs out.</param>
    /// <param name="condition">What the value must satisfy.</param>
    /// <param name="timeout">How long to try; null for <see cref="DefaultTimeout"/>.</param>
    /// <param name="expectation">Text of the condition; filled in by the compiler.</param>
    /// <exception cref="TimeoutException">The time is over; the message shows the condition and the value seen last.</exception>
    public static async Task<T> Is<T>(
        Func<Task<T>> read,
        Func<T, bool> condition,
        TimeSpan? timeout = null,
        [CallerArgumentExpression(nameof(condition))] string expectation = "")
    {
        ArgumentNullException.ThrowIfNull(read);
        ArgumentNullException.ThrowIfNull(condition);

        var limit = timeout ?? DefaultTimeout;
        var clock = Stopwatch.StartNew();
        var pause = TimeSpan.FromMilliseconds(10);
        var seen = "nothing";
        Exception? failure = null;
        while (true)
        {
            var (begun, reading) = (clock.Elapsed, ReadAsync());
            if (await Task.WhenAny(reading, Task.Delay(Remaining(limit, clock))) != reading)
            {
                // What was read before says more than that the time is over.
                throw NotWithin($"{seen}; one more reading was not done after {(clock.Elapsed - begun).TotalSeconds:0.##} s");
            }

            try
            {
                var value = await reading;
                if (condition(value))
                    return value;

                (seen, failure) = (Show(value), null);
            }
            catch (Exception exception)
            {
                (seen, failure) = ($"{exception.GetType().Name}: {exception.Message}", exception);
            }

            if (clock.Elapsed >= limit)
                throw NotWithin(seen);

            await Task.Delay(pause);
            pause = TimeSpan.FromMilliseconds(Math.Min(pause.TotalMilliseconds * 1.5, 250));
        }

        // What it throws at once is thrown like the rest.
        async Task<T> ReadAsync() => await read();

        TimeoutException NotWithin(string what) => new($"Not within {limit.TotalSeconds:0.#} s: {expectation}. Last seen: {what}", failure);
    }

    /// <summary>
    /// Reads a value again and again until it satisfies the condition, and returns it.
    /// </summary>
    /// <inheritdoc cref="Is{T}(Func{Task{T}}, Func{T, bool}, TimeSpan?, string)"/>
    public static Task<T> Is<T>(
        Func<T> read,
        Func<T, bool> condition,
        TimeSpan? timeout = null,
        [CallerArgumentExpression(nameof(condition))] string expectation = "")
    {
        ArgumentNullException.ThrowIfNull(read);
        return Is(() => Task.FromResult(read()), condition, timeout, expectation);
    }

    /// <summary>
    /// Waits until the value read equals the expected one.
    /// </summary>
    /// <param name="expected">The value to wait for.</param>
    /// <param name="read">Reads the value. What it throws counts as "not yet", and is shown if the time runs out.</param>
    /// <param name="timeout">How long to try; null for <see cref="DefaultTimeout"/>.</param>
    /// <param name="what">Text of the expression that reads; filled in by the compiler.</param>
    /// <exception cref="TimeoutException">The time is over; the message shows both values.</exception>
    public static Task Equal<T>(
        T expected,
        Func<Task<T>> read,
        TimeSpan? timeout = null,
        [CallerArgumentExpression(nameof(read))] string what = "") =>
        Is(read, value => EqualityComparer<T>.Default.Equals(expected, value), timeout, $"{what} is {Show(expected)}");

    /// <summary>
    /// Waits until the assertions no longer throw.
    /// </summary>
    /// <param name="assertions">Reads and asserts.</param>
    /// <param name="timeout">How long to try; null for <see cref="DefaultTimeout"/>.</param>
    /// <exception cref="TimeoutException">The time is over; the last failure is in the message and the inner exception.</exception>
    public static Task Passes(Func<Task> assertions, TimeSpan? timeout = null)
    {
        ArgumentNullException.ThrowIfNull(assertions);
        return Is(
            async () =>
            {
                await assertions();
                return true;
            },
            passed => passed,
            timeout,
            "the assertions pass");
    }

    private static TimeSpan Remaining(TimeSpan limit, Stopwatch clock)
    {
        var remaining = limit - clock.Elapsed;
        return remaining > TimeSpan.Zero ? remaining : TimeSpan.FromMilliseconds(1);
    }

    private static string Show<T>(T value)
    {
        if (value is null or string or IFormattable)
            return value?.ToString() ?? "null";

        try
        {
            return JsonSerializer.Serialize(value);
        }
        catch (Exception exception) when (exception is NotSupportedException or JsonException)
        {
            return value.ToString() ?? "";
        }
    }
}
