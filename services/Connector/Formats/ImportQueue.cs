using System.Diagnostics;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;
using Intercommunalite.ServiceDefaults;
using Microsoft.Data.Sqlite;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// Reads the imports: those of a commune one after another, in the order in which they came; those of different communes side by
/// side, so that nobody waits for a commune whose journal is full.
/// </summary>
internal sealed partial class ImportQueue(
    Imports imports, IEnumerable<IFormat> formats, Journals journals, JournalLimits limits, FormatsOptions options, TimeProvider clock, ILogger<ImportQueue> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var last = new Dictionary<CommuneCode, Task>();
        var lastOfAny = Task.CompletedTask;
        try
        {
            await foreach (var import in imports.WaitingAsync(stoppingToken))
            {
                if (import.Request.Commune is { } commune) last[commune] = RunAfterAsync(last.GetValueOrDefault(commune, Task.CompletedTask), import, stoppingToken);
                else lastOfAny = RunAfterAsync(lastOfAny, import, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping: what is unfinished is read again at the next start.
        }

        await Task.WhenAll([lastOfAny, .. last.Values]);
    }

    private async Task RunAfterAsync(Task before, Import import, CancellationToken stopping)
    {
        try
        {
            await before;
            await Task.Yield();
            stopping.ThrowIfCancellationRequested();
            while (!await TryRunAsync(import, stopping)) await Task.Delay(options.RetryDelay, clock, stopping);
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // The same.
        }
    }

    // False when the disk refused: nothing is lost, and it is tried again until the disk is well.
    private async Task<bool> TryRunAsync(Import import, CancellationToken stopping)
    {
        using var span = Telemetry.Activities.StartActivity("file import", ActivityKind.Internal, import.TraceParent);
        span?.SetTag("format", import.Request.Format);
        try
        {
            if (!File.Exists(import.UploadPath))
            {
                LogGone(import.Id);
                imports.Forget(import);
                return true;
            }

            if (import.Request.Commune is { } commune && journals.Find(commune) is null)
            {
                import.Show(import.State with { Waiting = $"The connector no longer serves {commune}. The file is read once it does again." });
                return false;
            }

            var end = formats.FirstOrDefault(format => format.Name == import.Request.Format) is { } known
                ? await RunAsync(import, known, stopping)
                : Refused(import, $"This connector no longer knows the format {import.Request.Format}.", $"Ce connecteur ne connaît plus le format {import.Request.Format}.");
            imports.Finish(import, end);
            LogEnd(import.Id, import.Request.Format, end.Status, end.LinesRead, end.Accepted, end.Duplicates, end.Rejected, end.Elsewhere);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or SqliteException)
        {
            LogDisk(import.Id, e.GetType().Name);
            import.Show(import.State with { Waiting = "The connector's disk is full or does not work. The file is read again in a while." });
            return false;
        }
    }

    private async Task<ImportState> RunAsync(Import import, IFormat format, CancellationToken stopping)
    {
        try
        {
            return await ImportRun.RunAsync(import, format, [.. formats], journals, limits, stopping);
        }
        catch (Exception e) when (e is not (IOException or UnauthorizedAccessException or SqliteException) && !stopping.IsCancellationRequested)
        {
            // A fault of ours. The file must not stop those behind it. Messages of exceptions may quote the file: only the place is told.
            LogFault(import.Id, import.Request.Format, e.GetType().Name, e.StackTrace);
            return Refused(
                import,
                $"The connector failed on the file after record {import.State.LinesRead}; its log says where. Report it.",
                $"Le connecteur a échoué sur ce fichier après l'enregistrement {import.State.LinesRead} ; son journal dit où. Signalez-le.");
        }
    }

    private static ImportState Refused(Import import, string error, string erreur) =>
        import.State with { Status = ImportStatus.Refused, Error = error, Erreur = erreur };

    [LoggerMessage(Level = LogLevel.Information, Message = "Import {Import} ({Format}) {Status}: {Lines} lines read, {Accepted} accepted, {Duplicates} duplicates, {Rejected} rejected, {Elsewhere} elsewhere.")]
    private partial void LogEnd(Guid import, string format, ImportStatus status, long lines, long accepted, long duplicates, long rejected, long elsewhere);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Import {Import}: the disk refused ({Fault}); it is read again in a while.")]
    private partial void LogDisk(Guid import, string fault);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Import {Import}: its file is gone, so that it cannot be read.")]
    private partial void LogGone(Guid import);

    [LoggerMessage(Level = LogLevel.Error, Message = "Import {Import} ({Format}) failed: {Fault}\n{Place}")]
    private partial void LogFault(Guid import, string format, string fault, string? place);
}
