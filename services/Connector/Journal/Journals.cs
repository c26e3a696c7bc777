using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.ServiceDefaults;

namespace Intercommunalite.Connector.Journal;

/// <summary>The journals of the communes that this connector serves, each in <c>{data}/{code}/journal.db</c>.</summary>
internal sealed class Journals : IAsyncDisposable
{
    private readonly SortedDictionary<string, CommuneJournal> _byCommune = new(StringComparer.Ordinal);

    /// <summary>Opens, or makes, the journal of each commune.</summary>
    /// <exception cref="InvalidOperationException">A setting is missing, or names what is no commune.</exception>
    public Journals(IConfiguration configuration)
    {
        DataDirectory = Path.GetFullPath(configuration.Required("Connector:DataDirectory"));
        foreach (var text in configuration.Required("Connector:Communes").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            if (!CommuneCode.TryParse(text, out var commune) || !Epci.TryResolve(text, out var current) || current != commune)
                throw new InvalidOperationException($"Connector:Communes names {text}, which is not the INSEE code of a commune of today.");
            if (!_byCommune.ContainsKey(text)) _byCommune.Add(text, CommuneJournal.Open(commune, Path.Combine(DataDirectory, text)));
        }
    }

    /// <summary>Where everything that the connector keeps is.</summary>
    public string DataDirectory { get; }

    /// <summary>All journals, by commune.</summary>
    public IReadOnlyCollection<CommuneJournal> All => _byCommune.Values;

    /// <summary>The journal of a commune, or null when the commune is not served here.</summary>
    public CommuneJournal? Find(CommuneCode commune) => _byCommune.GetValueOrDefault(commune.ToString());

    public async ValueTask DisposeAsync()
    {
        foreach (var journal in All) await journal.DisposeAsync();
    }
}
