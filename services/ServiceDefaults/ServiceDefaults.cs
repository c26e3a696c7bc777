using System.Text.Json;
using Intercommunalite.ServiceDefaults.Edges;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Intercommunalite.ServiceDefaults;

/// <summary>What every service starts with: telemetry, health, errors as problem+json.</summary>
public static class Defaults
{
    /// <summary>Tag of the health checks that must pass before a service takes requests.</summary>
    public const string Ready = "ready";

    /// <summary>
    /// Adds telemetry (exported by OTLP when <c>OTEL_EXPORTER_OTLP_ENDPOINT</c> is set, silent otherwise), health checks and
    /// problem details.
    /// </summary>
    /// <param name="builder">The service being built.</param>
    /// <param name="serviceName">Name under which its telemetry is known: <c>hub</c>, <c>connector</c>.</param>
    public static WebApplicationBuilder AddServiceDefaults(this WebApplicationBuilder builder, string serviceName)
    {
        builder.AddEdge();
        builder.Services.AddHealthChecks();
        builder.Services.AddProblemDetails(options => options.CustomizeProblemDetails = context =>
        {
            context.ProblemDetails.Extensions.Remove("exception");
            context.ProblemDetails.Detail ??= context.ProblemDetails.Status switch
            {
                StatusCodes.Status401Unauthorized => "A valid token is required (Authorization: Bearer …): of this hub's issuer, for this audience, not expired, of a client that is not suspended.",
                StatusCodes.Status403Forbidden => "The token is valid, but what it allows does not reach this. Ask the administrator of the hub.",
                _ => null,
            };
        });
        builder.Services.ConfigureHttpJsonOptions(options => options.SerializerOptions.MaxDepth = 32);
        builder.Logging.AddSimpleConsole(options =>
        {
            options.SingleLine = true;
            options.TimestampFormat = "yyyy-MM-dd'T'HH:mm:ss.fffzzz ";
        });

        // These lines hold the addresses of requests, and a query may name a person (answers of the payment page do). Setting the level
        // of "Microsoft.AspNetCore" does not bring them back.
        builder.Logging.AddFilter("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.Warning);

        // Nothing is measured that nobody reads.
        if (string.IsNullOrEmpty(builder.Configuration["OTEL_EXPORTER_OTLP_ENDPOINT"])) return builder;
        builder.Services.AddOpenTelemetry()
            .ConfigureResource(resource => resource.AddService(serviceName, serviceNamespace: Telemetry.Name))
            .WithTracing(traces => traces
                .AddSource(Telemetry.Name, "MassTransit")
                .AddAspNetCoreInstrumentation(options =>
                {
                    options.Filter = context => !context.Request.Path.StartsWithSegments("/health");
                    // A key in a path is a secret; the route says as much without it.
                    options.EnrichWithHttpResponse = (activity, response) =>
                    {
                        if (response.HttpContext.Request.RouteValues.ContainsKey("key") && response.HttpContext.GetEndpoint() is RouteEndpoint route)
                            activity.SetTag("url.path", route.RoutePattern.RawText);
                    };
                })
                .AddHttpClientInstrumentation())
            .WithMetrics(metrics => metrics
                .AddMeter(Telemetry.Name, "MassTransit")
                .AddAspNetCoreInstrumentation()
                .AddHttpClientInstrumentation()
                .AddRuntimeInstrumentation())
            .UseOtlpExporter();
        return builder;
    }

    /// <summary>
    /// Maps <c>/health/live</c> (the process answers) and <c>/health/ready</c> (it can do its work), and turns whatever goes
    /// wrong into problem+json without a stack trace.
    /// </summary>
    public static WebApplication UseServiceDefaults(this WebApplication app)
    {
        app.UseEdge();
        app.UseExceptionHandler(new ExceptionHandlerOptions
        {
            StatusCodeSelector = exception => exception switch
            {
                BadHttpRequestException bad => bad.StatusCode,
                TimeoutException => StatusCodes.Status503ServiceUnavailable,
                _ => StatusCodes.Status500InternalServerError,
            },
        });
        app.UseStatusCodePages();
        app.MapHealthChecks("/health/live", new HealthCheckOptions { Predicate = _ => false, ResponseWriter = WriteHealthAsync }).AllowAnonymous();
        app.MapHealthChecks("/health/ready", new HealthCheckOptions { Predicate = check => check.Tags.Contains(Ready), ResponseWriter = WriteHealthAsync }).AllowAnonymous();
        return app;
    }

    /// <summary>A setting that must be there.</summary>
    /// <exception cref="InvalidOperationException">It is not; the message says which one and how to give it.</exception>
    public static string Required(this IConfiguration configuration, string key) =>
        configuration[key] is { Length: > 0 } value
            ? value
            : throw new InvalidOperationException($"The setting {key} is missing: give it as the environment variable {key.Replace(":", "__", StringComparison.Ordinal)}.");

    private static Task WriteHealthAsync(HttpContext context, HealthReport report)
    {
        context.Response.ContentType = "application/json";
        var checks = report.Entries.ToDictionary(entry => entry.Key, entry => new { status = entry.Value.Status.ToString(), entry.Value.Description });
        return context.Response.WriteAsync(JsonSerializer.Serialize(new { status = report.Status.ToString(), checks }, JsonSerializerOptions.Web));
    }
}
