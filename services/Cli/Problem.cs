using System.Text;
using System.Text.Json;
using static System.FormattableString;

namespace Intercommunalite.Cli;

/// <summary>An answer that says no, in words: from problem+json (RFC 9457) where there is one, else from the status alone.</summary>
internal static class Problem
{
    private const int ErrorsNamed = 5;

    public static async Task<string> ReadAsync(HttpResponseMessage response, CancellationToken cancellation)
    {
        var request = response.RequestMessage!;
        var said = new StringBuilder(Invariant($"{request.Method} {request.RequestUri} answered {(int)response.StatusCode}"));
        if (response.Content.Headers.ContentType?.MediaType is not ("application/problem+json" or "application/json"))
            return said.Append(" " + response.ReasonPhrase + ".").ToString();

        try
        {
            var body = await response.Content.ReadAsByteArrayAsync(cancellation);
            using var problem = JsonDocument.Parse(body);
            var root = problem.RootElement;
            string[] texts = [Text(root, "title"), Text(root, "detail")];
            said.Append(": ").AppendJoin(' ', texts.Where(text => text.Length > 0).Select(text => text.TrimEnd('.') + "."));
            if (root.TryGetProperty("errors", out var errors)) AppendErrors(said, [.. Errors(errors)]);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            said.Append(" " + response.ReasonPhrase + ".");
        }

        return said.ToString();
    }

    private static void AppendErrors(StringBuilder said, string[] errors)
    {
        said.AppendLine();
        said.AppendJoin(Environment.NewLine, errors.Take(ErrorsNamed).Select(error => $"  {error}"));
        if (errors.Length > ErrorsNamed) said.AppendLine().Append(Invariant($"  and {errors.Length - ErrorsNamed} more"));
    }

    // The connector gives a list (index, field, reason); a framework's own validation gives an object of lists by field.
    private static IEnumerable<string> Errors(JsonElement errors) => errors.ValueKind switch
    {
        JsonValueKind.Array => errors.EnumerateArray().Select(error => error.ValueKind == JsonValueKind.Object ? Fault(error) : error.ToString()),
        JsonValueKind.Object => errors.EnumerateObject().Select(error => $"{error.Name}: {string.Join(", ", Texts(error.Value))}"),
        _ => [errors.ToString()],
    };

    private static string Fault(JsonElement error)
    {
        var index = Text(error, "index") is { Length: > 0 } number ? $"event {number}" : "";
        string[] parts = [index, Text(error, "field"), Text(error, "reason")];
        return string.Join(": ", parts.Where(part => part.Length > 0));
    }

    private static IEnumerable<string> Texts(JsonElement value) =>
        value.ValueKind == JsonValueKind.Array ? value.EnumerateArray().Select(item => item.ToString()) : [value.ToString()];

    private static string Text(JsonElement root, string name) => root.TryGetProperty(name, out var value) ? value.ToString() : "";
}
