namespace Intercommunalite.Hub.OpenData;

/// <summary>What may be published; section <c>OpenData</c>.</summary>
internal sealed class OpenDataOptions
{
    /// <summary>How often a first name must occur in a commune and a year to be given out; a request may ask for more, never for less.</summary>
    public int MinOccurrences { get; init; } = 3;
}

/// <summary>Registers the room of the open data: files in the national schemas (SCDL), for the communes to publish.</summary>
internal static class Configuration
{
    /// <exception cref="InvalidOperationException">A setting is not positive.</exception>
    public static WebApplicationBuilder AddOpenData(this WebApplicationBuilder builder)
    {
        var options = builder.Configuration.GetSection("OpenData").Get<OpenDataOptions>() ?? new OpenDataOptions();
        if (options.MinOccurrences < 1) throw new InvalidOperationException("OpenData:MinOccurrences must be 1 or more.");
        builder.Services.AddSingleton(options);
        return builder;
    }

    public static RouteGroupBuilder MapOpenData(this RouteGroupBuilder api)
    {
        FirstNames.Map(api);
        return api;
    }
}
