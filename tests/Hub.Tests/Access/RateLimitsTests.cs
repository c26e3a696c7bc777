using System.Net;
using System.Security.Claims;
using Intercommunalite.Hub.Access;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Intercommunalite.Hub.Tests.Access;

/// <summary>How often a caller may answer deliveries, which is more often than it may ask for anything else.</summary>
public sealed class RateLimitsTests : IAsyncLifetime, IDisposable
{
    // Enough that some come before a bucket is refilled, on however slow a machine.
    private const int Many = 200;

    private readonly HttpClient _http = new();
    private WebApplication _app = null!;

    public async Task InitializeAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["RateLimits:AnswersPerSecond"] = "10",
            ["RateLimits:RequestsPerSecond"] = "1",
            ["RateLimits:RequestBurst"] = "1",
        });
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        RateLimits.Add(builder);
        _app = builder.Build();
        // As the authentication does it.
        _app.Use((context, next) =>
        {
            if (context.Request.Headers.From is [{ } sub]) context.User = new(new ClaimsIdentity([new("sub", sub)], "test"));
            return next();
        });
        _app.UseRateLimiter();
        _app.MapPost("{**any}", () => Results.Ok());
        await _app.StartAsync();
        _http.BaseAddress = new(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single());
    }

    public void Dispose() => _http.Dispose();

    public async Task DisposeAsync() => await _app.DisposeAsync();

    [Fact]
    public async Task Given_a_client_that_answers_deliveries_When_it_answers_too_often_Then_twice_the_rate_is_taken_at_once_and_the_rest_is_told_to_wait()
    {
        foreach (var answer in RateLimits.Answers)
        {
            var taken = await AskAsync(answer, $"client {answer}");

            Assert.InRange(taken.Count(status => status == HttpStatusCode.OK), 20, Many - 1);
        }
    }

    [Fact]
    public async Task Given_a_client_that_may_ask_no_more_When_it_answers_Then_that_is_taken_and_another_client_has_a_rate_of_its_own()
    {
        Assert.Contains(HttpStatusCode.TooManyRequests, await AskAsync("/api/v1/feed", "one"));

        Assert.Equal(HttpStatusCode.OK, await OnceAsync("one"));
        Assert.Equal(HttpStatusCode.OK, await OnceAsync("other"));
    }

    [Fact]
    public async Task Given_a_caller_that_nobody_knows_When_it_answers_deliveries_Then_it_may_no_more_than_any_other_request()
    {
        var taken = await AskAsync(RateLimits.Answers.First(), null);

        Assert.InRange(taken.Count(status => status == HttpStatusCode.OK), 1, 19);
    }

    private Task<HttpStatusCode[]> AskAsync(string path, string? sub) => Task.WhenAll(Enumerable.Range(0, Many).Select(_ => OnceAsync(sub, path)));

    private async Task<HttpStatusCode> OnceAsync(string? sub, string? path = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path ?? RateLimits.Answers.First());
        if (sub is not null) request.Headers.TryAddWithoutValidation("From", sub);
        using var response = await _http.SendAsync(request);
        if (response.StatusCode == HttpStatusCode.TooManyRequests) Assert.NotNull(response.Headers.RetryAfter);
        return response.StatusCode;
    }
}
