using System.Net;
using System.Text.RegularExpressions;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>A browser without a screen: keeps cookies, sends the forms of pages, follows nothing by itself.</summary>
internal sealed partial class Visit(Uri hub) : IDisposable
{
    private readonly HttpClient _client = new(new SocketsHttpHandler { CookieContainer = new CookieContainer(), AllowAutoRedirect = false });

    /// <summary>The node that is asked.</summary>
    public Uri Hub { get; set; } = hub;

    public Task<HttpResponseMessage> GetAsync(string path) => _client.GetAsync(new Uri(Hub, path));

    /// <summary>The text of a page.</summary>
    public async Task<string> ReadAsync(string path)
    {
        using var response = await GetAsync(path);
        return WebUtility.HtmlDecode(await response.Content.ReadAsStringAsync());
    }

    /// <summary>Opens a page and sends its form.</summary>
    public async Task<HttpResponseMessage> SubmitAsync(string path, params (string Name, string Value)[] fields)
    {
        var page = await ReadAsync(path);
        return await PostAsync(Action().Match(page).Groups[1].Value, [("__RequestVerificationToken", Token().Match(page).Groups[1].Value), .. fields]);
    }

    /// <summary>Sends a form.</summary>
    public async Task<HttpResponseMessage> PostAsync(string path, params (string Name, string Value)[] fields)
    {
        using var form = new FormUrlEncodedContent(fields.Select(field => KeyValuePair.Create(field.Name, field.Value)));
        return await _client.PostAsync(new Uri(Hub, path), form);
    }

    public void Dispose() => _client.Dispose();

    [GeneratedRegex("""<form[^>]* action="([^"]*)""")]
    private static partial Regex Action();

    [GeneratedRegex("""name="__RequestVerificationToken" value="([^"]*)""")]
    private static partial Regex Token();
}
