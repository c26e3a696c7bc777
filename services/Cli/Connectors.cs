namespace Intercommunalite.Cli;

/// <summary>Which connector serves which commune, as the connectors themselves say.</summary>
internal static class Connectors
{
    private sealed record Served(IReadOnlyList<string> Communes);

    /// <summary>The communes that a connector serves.</summary>
    public static async Task<IReadOnlyList<string>> CommunesAsync(this Web web, Uri connector, CancellationToken cancellation) =>
        (await web.GetAsync<Served>(connector, "/communes", cancellation)).Communes;

    /// <summary>The connector of every commune served.</summary>
    /// <exception cref="Failure">A connector does not answer, or two of them serve the same commune.</exception>
    public static async Task<IReadOnlyDictionary<string, Uri>> DiscoverAsync(this Web web, Uri[] connectors, CancellationToken cancellation)
    {
        var served = await Task.WhenAll(connectors.Select(connector => web.CommunesAsync(connector, cancellation)));
        var byCommune = new Dictionary<string, Uri>();
        foreach (var (connector, communes) in connectors.Zip(served))
        {
            foreach (var commune in communes)
            {
                if (byCommune.TryAdd(commune, connector)) continue;
                throw new Failure(
                    $"Commune {commune} is served by {byCommune[commune]} and by {connector}. Each has one connector: correct their configuration.");
            }
        }

        return byCommune;
    }
}
