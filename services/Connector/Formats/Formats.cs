using Intercommunalite.Connector.Access;
using Intercommunalite.Connector.Intake;
using Microsoft.AspNetCore.Mvc;

namespace Intercommunalite.Connector.Formats;

/// <summary>How files are taken; section <c>Formats</c>.</summary>
internal sealed class FormatsOptions
{
    /// <summary>How often the drop folders are looked at. Nothing is expected of the system's notifications: network shares have none.</summary>
    public TimeSpan DropInterval { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>A file in a drop folder is taken once it has been seen unchanged for so long: it may be arriving slowly.</summary>
    public TimeSpan DropQuiet { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long to wait before an import is read again after the disk refused.</summary>
    public TimeSpan RetryDelay { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long the outcome of an import can be asked for. Older ones are cleared away when the connector starts.</summary>
    public TimeSpan KeepImports { get; init; } = TimeSpan.FromDays(400);

    /// <summary>
    /// How long a file stays in <c>done/</c>, <c>rejected/</c> and <c>held/</c> of a drop folder, since it holds names; one that is held for
    /// so long is given up. Its report stays for <see cref="KeepImports"/>.
    /// </summary>
    public TimeSpan KeepDropped { get; init; } = TimeSpan.FromDays(30);

    /// <summary>Largest file that is taken by a request, in bytes. Files in drop folders may have any size: they are on the disk already.</summary>
    public long MaxFileBytes { get; init; } = 1L << 30;

    /// <summary>The largest share of a school's pupils that a file may withdraw without somebody saying that it is right.</summary>
    public double MaxWithdrawnShare { get; init; } = 1.0 / 3;
}

/// <summary>Registers the formats, and the two ways in which a file comes: a request and a drop folder.</summary>
internal static class Formats
{
    public static WebApplicationBuilder AddFormats(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<IFormat, CloudEvents.CloudEventsJsonl>();
        builder.Services.AddSingleton<IFormat, Concerto.ConcertoEnrolments>();
        builder.Services.AddSingleton<IFormat, InseeDeaths.InseeDeaths>();
        builder.Services.AddSingleton<IFormat, Onde.OndePupils>();
        builder.Services.AddSingleton<IFormat, PayFip.PayFip>();
        builder.Services.AddSingleton<IFormat, PesRetour.PesRetour>();

        builder.Services.AddSingleton(builder.Configuration.GetSection("Formats").Get<FormatsOptions>() ?? new FormatsOptions());
        builder.Services.AddSingleton<Imports>();
        builder.Services.AddHostedService<ImportQueue>();
        builder.Services.AddHostedService<DropFolders>();
        builder.Services.AddHostedService<Clearing>();
        return builder;
    }

    public static void MapFormats(this IEndpointRouteBuilder app)
    {
        var sizeLimit = new RequestSizeLimitAttribute(app.ServiceProvider.GetRequiredService<FormatsOptions>().MaxFileBytes);
        app.MapPost("/communes/{code}/files/{format}", PostFile.OfCommuneAsync).RequireAuthorization(Rules.Serve).RequireRateLimiting(RequestRate.Policy).WithMetadata(sizeLimit);
        app.MapPost("/files/{format}", PostFile.OfAnyCommuneAsync).RequireAuthorization(Rules.ServeAll).RequireRateLimiting(RequestRate.Policy).WithMetadata(sizeLimit);
        app.MapGet("/communes/{code}/imports/{id:guid}", ShowImport.OfCommune).RequireAuthorization(Rules.Watch);
        app.MapGet("/imports/{id:guid}", ShowImport.OfAny).RequireAuthorization(Rules.WatchAll);
        app.MapGet("/communes/{code}/imports/held", ShowImport.HeldOfCommune).RequireAuthorization(Rules.Watch);
        app.MapGet("/imports/held", ShowImport.HeldOfAny).RequireAuthorization(Rules.WatchAll);
        app.MapPost("/communes/{code}/imports/{id:guid}/confirmation", DecideImport.ConfirmOfCommune).RequireAuthorization(Rules.Serve);
        app.MapPost("/imports/{id:guid}/confirmation", DecideImport.ConfirmOfAny).RequireAuthorization(Rules.ServeAll);
        app.MapDelete("/communes/{code}/imports/{id:guid}", DecideImport.DiscardOfCommune).RequireAuthorization(Rules.Serve);
        app.MapDelete("/imports/{id:guid}", DecideImport.DiscardOfAny).RequireAuthorization(Rules.ServeAll);
        app.MapGet("/communes/{code}/imports/{id:guid}/rejects", ShowImport.RejectsOfCommune).RequireAuthorization(Rules.Watch);
        app.MapGet("/imports/{id:guid}/rejects", ShowImport.RejectsOfAny).RequireAuthorization(Rules.WatchAll);
        PayFip.PayFipCallback.Map(app);
    }
}
