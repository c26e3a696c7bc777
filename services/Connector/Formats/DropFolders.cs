using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// Looks into the drop folders: <c>{data}/{code}/drop/{format}/</c> for each commune, <c>{data}/drop/{format}/</c> for files that
/// span communes. For a format that must be told something beside the file, a folder in there tells it by its name:
/// <c>{data}/{code}/drop/onde-pupils/0350122T/</c>.
/// </summary>
internal sealed partial class DropFolders : BackgroundService
{
    private static readonly Dictionary<string, string> s_noSettings = [];

    private readonly Imports _imports;
    private readonly FormatsOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger<DropFolders> _logger;
    private readonly List<(IFormat Format, CommuneCode? Commune, DropFolder Folder)> _folders;
    private readonly Dictionary<string, DropFolder> _within = [];

    /// <summary>Makes the folders, so that they are there once the connector answers.</summary>
    public DropFolders(Journals journals, Imports imports, IEnumerable<IFormat> formats, FormatsOptions options, TimeProvider clock, ILogger<DropFolders> logger)
    {
        (_imports, _options, _clock, _logger) = (imports, options, clock, logger);
        _folders =
        [
            .. from format in formats
               from journal in journals.All
               select (format, (CommuneCode?)journal.Commune, Folder(Path.Combine(journal.Directory, "drop", format.Name), format, journal.Commune, s_noSettings)),
            .. from format in formats
               select (format, (CommuneCode?)null, Folder(Path.Combine(journals.DataDirectory, "drop", format.Name), format, null, s_noSettings)),
        ];
        foreach (var (_, _, folder) in _folders) folder.Create();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(_options.DropInterval, _clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                foreach (var (format, commune, folder) in _folders)
                {
                    await LookAsync(folder, stoppingToken);
                    foreach (var within in Within(folder, format, commune)) await LookAsync(within, stoppingToken);
                }
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private IEnumerable<DropFolder> Within(DropFolder folder, IFormat format, CommuneCode? commune)
    {
        if (format.Settings.Count == 0 || !Directory.Exists(folder.FullPath)) yield break;
        foreach (var path in Directory.GetDirectories(folder.FullPath))
        {
            var name = Path.GetFileName(path);
            if (DropFolder.IsOwn(name) || name.StartsWith('.') || new DirectoryInfo(path).LinkTarget is not null) continue;
            if (!_within.TryGetValue(path, out var within))
                _within[path] = within = Folder(path, format, commune, new Dictionary<string, string> { [format.Settings[0]] = name });
            yield return within;
        }
    }

    private DropFolder Folder(string path, IFormat format, CommuneCode? commune, IReadOnlyDictionary<string, string> settings) =>
        new(path, new ImportRequest(format.Name, commune, settings), _imports, _options.DropQuiet, _clock);

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
