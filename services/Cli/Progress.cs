using Spectre.Console;

namespace Intercommunalite.Cli;

/// <summary>How far some long work is.</summary>
/// <param name="Done">Done so far.</param>
/// <param name="Total">All there is to do; 0 while unknown.</param>
/// <param name="Note">What is worth saying beside the bar.</param>
internal readonly record struct Advance(double Done, double Total, string Note);

/// <summary>Shows long work on the error side: a bar where somebody watches, else a line now and then.</summary>
internal sealed class Progress(Terminal terminal, TimeProvider time)
{
    private static readonly TimeSpan s_betweenLines = TimeSpan.FromSeconds(10);

    /// <summary>Does the work; it reports through the function it is given, from any thread.</summary>
    public Task<T> ShowAsync<T>(string what, Func<Action<Advance>, Task<T>> work) =>
        terminal.IsWatched ? BarAsync(what, work) : LinesAsync(what, work);

    /// <summary>Does work that has no result.</summary>
    public Task ShowAsync(string what, Func<Action<Advance>, Task> work) => ShowAsync(what, async report =>
    {
        await work(report);
        return true;
    });

    private async Task<T> BarAsync<T>(string what, Func<Action<Advance>, Task<T>> work) =>
        await terminal.Talk.Progress()
            .AutoClear(true)
            .Columns(
                new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new ElapsedTimeColumn())
            .StartAsync(async context =>
            {
                var bar = context.AddTask(Markup.Escape(what));
                return await work(advance =>
                {
                    bar.IsIndeterminate = advance.Total <= 0;
                    if (advance.Total > 0) bar.MaxValue = advance.Total;
                    bar.Value = advance.Done;
                    bar.Description = Markup.Escape($"{what}: {advance.Note}");
                });
            });

    private async Task<T> LinesAsync<T>(string what, Func<Action<Advance>, Task<T>> work)
    {
        var last = time.GetTimestamp();
        var turn = new Lock();
        return await work(advance =>
        {
            lock (turn)
            {
                if (time.GetElapsedTime(last) < s_betweenLines) return;
                last = time.GetTimestamp();
            }

            terminal.Say(advance.Total > 0 ? $"{what}: {advance.Note} ({100 * advance.Done / advance.Total:F0} %)" : $"{what}: {advance.Note}");
        });
    }
}
