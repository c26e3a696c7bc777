using Intercommunalite.Connector.Journal;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// Looks into the drop folders: <c>{data}/{code}/drop/{format}/</c> for each commune, <c>{data}/drop/{format}/</c> for files that
/// span communes.
/// </summary>
internal sealed partial class DropFolders : BackgroundService
{
    private readonly List<DropFolder> _folders;
    private readonly FormatsOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger<DropFolders> _logger;

    /// <summary>Makes the folders, so that they are there once the connector answers.</summary>
    public DropFolders(Journals journals, Imports imports, IEnumerable<IFormat> formats, FormatsOptions options, TimeProvider clock, ILogger<DropFolders> logger)
    {
        (_options, _clock, _logger) = (options, clock, logger);
        _folders =
        [
            .. from format in formats
               from journal in journals.All
               select new DropFolder(Path.Combine(journal.Directory, "drop", format.Name), format.Name, journal.Commune, imports),
            .. from format in formats
               select new DropFolder(Path.Combine(journals.DataDirectory, "drop", format.Name), format.Name, null, imports),
        ];
        foreach (var folder in _folders) folder.Create();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(_options.DropInterval, _clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                foreach (var folder in _folders) await LookAsync(folder, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private async Task LookAsync(DropFolder folder, CancellationToken stopping)
    {
        // Files' names may say something of persons, and so may the messages of exceptions that quote them.
        void Failed(Exception e) => LogFailed(folder.FullPath, e.GetType().Name);
        try
        {
            await folder.LookAsync(Failed, stopping);
        }
        catch (Exception e) when (!stopping.IsCancellationRequested)
        {
            Failed(e);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "A file in {Folder} could not be handled ({Fault}); it is tried again.")]
    private partial void LogFailed(string folder, string fault);
}
