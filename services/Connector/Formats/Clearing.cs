using Intercommunalite.Connector.Journal;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// Deletes what may name persons once it is needed no longer: dropped files and held imports past <see cref="FormatsOptions.KeepDropped"/>,
/// known acts past their time. At the start, then every hour.
/// </summary>
internal sealed partial class Clearing(Journals journals, Imports imports, IEnumerable<IFormat> formats, FormatsOptions options, TimeProvider clock, ILogger<Clearing> logger)
    : BackgroundService
{
    private static readonly TimeSpan s_pause = TimeSpan.FromHours(1);

    /// <summary>Looks at everything once.</summary>
    public void Clear()
    {
        var now = clock.GetUtcNow();
        imports.DiscardHeldBefore(now - options.KeepDropped);
        foreach (var directory in journals.All.Select(journal => journal.Directory).Append(journals.DataDirectory))
        {
            Try(() => KnownActs.Forget(directory, DateOnly.FromDateTime(now.UtcDateTime)));
            foreach (var format in formats)
            {
                var folder = Path.Combine(directory, "drop", format.Name);
                if (!Directory.Exists(folder)) continue;
                foreach (var path in Directory.GetDirectories(folder).Where(path => !DropFolder.IsOwn(Path.GetFileName(path)) && new DirectoryInfo(path).LinkTarget is null).Append(folder))
                    Try(() => DropFolder.Clear(path, now - options.KeepDropped, now - options.KeepImports));
            }
        }

        void Try(Action clear)
        {
            try
            {
                clear();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or Microsoft.Data.Sqlite.SqliteException)
            {
                // Without the message, which may quote a file's name.
                LogFailed(e.GetType().Name);
            }
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await Task.Yield();
        while (!stoppingToken.IsCancellationRequested)
        {
            Clear();
            await Task.Delay(s_pause, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Something that is kept no longer could not be deleted ({Fault}); it is tried again.")]
    private partial void LogFailed(string fault);
}
