using System.Globalization;
using System.Text.Json;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.EventStore;
using Npgsql;
using NpgsqlTypes;

namespace Intercommunalite.Hub.Feeds;

/// <summary>A fact that is asked for.</summary>
/// <param name="Field">Name of a field of <c>data</c>.</param>
/// <param name="Values">Values of which it must have one, as JSON writes them, text without quotation marks.</param>
internal sealed record AskedFact(string Field, string[] Values);

/// <summary>Which events a reader asks for; empty lists let everything pass. The agreement narrows it further (<see cref="FeedAccess"/>).</summary>
/// <param name="Types">Names of types, or beginnings with <c>*</c> behind.</param>
/// <param name="Communes">INSEE codes.</param>
/// <param name="Subjects">Subjects, or beginnings with <c>*</c> behind.</param>
/// <param name="Facts">Facts that must all hold.</param>
internal sealed record FeedFilter(string[] Types, string[] Communes, string[] Subjects, AskedFact[] Facts)
{
    private const int MostValues = 100;
    private const int LongestValue = 200;

    // What of a row is the subject: behind commune and domain.
    private const string Subject = "substr(stream_id, length(split_part(stream_id, '/', 1)) + length(split_part(stream_id, '/', 2)) + 3)";

    /// <summary>Everything.</summary>
    public static FeedFilter All { get; } = new([], [], [], []);

    /// <summary>A filter as it is asked for over gRPC.</summary>
    /// <exception cref="RpcException">It has a wrong form: which part of it, and what is expected.</exception>
    public static FeedFilter Of(Filter? asked) => asked is null ? All : new FeedFilter(
        [.. asked.Types_], [.. asked.Communes], [.. asked.Subjects], [.. asked.Facts.Select(fact => new AskedFact(fact.Field, [.. fact.Values]))]).Checked();

    /// <summary>Itself, when its form is right.</summary>
    /// <exception cref="RpcException">It is not.</exception>
    public FeedFilter Checked()
    {
        // JSON can say null where a text is meant.
        if (((string?[])[.. Types, .. Communes, .. Subjects]).Contains(null) || Facts.Any(fact => fact is not { Field: not null, Values: not null } || ((string?[])fact.Values).Contains(null)))
            throw Wrong("types, communes, subjects, facts", "texts expected, and facts with field and values");
        if (!Types.All(type => TypePattern.TryParse(type, out _))) throw Wrong("types", $"{TypePattern.Form}");
        if (!Communes.All(commune => CommuneCode.TryParse(commune, out _))) throw Wrong("communes", "INSEE commune codes expected");
        if (!Subjects.All(subject => subject is { Length: > 0 and <= LongestValue } && Query.IsText(subject))) throw Wrong("subjects", "subjects expected, or their beginnings with '*' behind");
        if (Types.Length > MostValues || Communes.Length > 10 * MostValues || Subjects.Length > MostValues || Facts.Length > 10) throw Wrong("types, communes, subjects, facts", $"{MostValues} types and subjects, {10 * MostValues} communes, 10 facts at most");
        // It would give nothing for ever, without a word.
        if (Types.FirstOrDefault(type => !TypePattern.Types(type).Any()) is { } unknown) throw Wrong("types", TypePattern.Unknown(unknown), "unknown-type");
        var fields = AskedTypes().SelectMany(ContractFields.Data).ToHashSet(StringComparer.Ordinal);
        foreach (var fact in Facts)
        {
            if (!fields.Contains(fact.Field)) throw Wrong("facts", $"none of the types asked for has a field \"{Short(fact.Field)}\"");
            if (fact.Values is not { Length: > 0 and <= MostValues } || !fact.Values.All(value => value.Length <= LongestValue && Query.IsText(value)))
                throw Wrong("facts", $"1 to {MostValues} values of {LongestValue} characters at most expected for \"{fact.Field}\"");
        }

        return this;
    }

    /// <summary>The types of the catalogue that are asked for.</summary>
    public IEnumerable<EventType> AskedTypes() => Types.Length == 0 ? Catalogue.All : Types.SelectMany(TypePattern.Types).Distinct();

    /// <summary>Narrows a command on <c>hub.mt_events</c> to what is asked for, as far as the store can tell.</summary>
    /// <param name="command">Gets the parameters.</param>
    /// <param name="types">Types that may pass; null for all.</param>
    /// <param name="communes">Communes that may pass; null for all.</param>
    /// <returns>SQL of a condition, with <c> AND </c> before it; empty when everything passes.</returns>
    public string Where(NpgsqlCommand command, string[]? types, string[]? communes)
    {
        var sql = "";
        if (types is not null) sql += $" AND type = ANY ({Texts(types)})";
        if (communes is not null) sql += $" AND split_part(stream_id, '/', 1) = ANY ({Texts(communes)})";
        if (Subjects.Length > 0) sql += $" AND {Subject} LIKE ANY ({Texts([.. Subjects.Select(Like)])})";
        foreach (var fact in Facts)
        {
            var field = Texts([fact.Field]);
            sql += $" AND EXISTS (SELECT FROM jsonb_array_elements_text(CASE jsonb_typeof(data -> ({field})[1]) WHEN 'array' THEN data -> ({field})[1] ELSE jsonb_build_array(data -> ({field})[1]) END) v WHERE v = ANY ({Texts(fact.Values)}))";
        }

        return sql;

        string Texts(string[] values)
        {
            command.Parameters.Add(new() { Value = values, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text });
            return string.Create(CultureInfo.InvariantCulture, $"${command.Parameters.Count}");
        }
    }

    /// <summary>Whether a subject is asked for.</summary>
    public bool Takes(string subject)
    {
        if (Subjects.Length == 0) return true;
        foreach (var asked in Subjects)
        {
            if (asked[^1] == '*' ? subject.AsSpan().StartsWith(asked.AsSpan(0, asked.Length - 1), StringComparison.Ordinal) : subject == asked) return true;
        }

        return false;
    }

    /// <summary>Whether the facts asked for hold in what the reader may have of an event's data: of what is withheld, nothing can be learnt by asking.</summary>
    public bool Holds(string allowedData)
    {
        if (Facts.Length == 0) return true;
        using var data = JsonDocument.Parse(allowedData);
        foreach (var fact in Facts)
        {
            if (!data.RootElement.TryGetProperty(fact.Field, out var value)
                || !(value.ValueKind == JsonValueKind.Array ? value.EnumerateArray().Any(item => fact.Values.Contains(Text(item))) : fact.Values.Contains(Text(value)))) return false;
        }

        return true;
    }

    private static string? Text(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Null => null,
        JsonValueKind.String => value.GetString(),
        _ => value.GetRawText(),
    };

    private static string Like(string subject)
    {
        var begins = subject[^1] == '*';
        var literal = (begins ? subject[..^1] : subject).Replace("\\", "\\\\", StringComparison.Ordinal).Replace("%", "\\%", StringComparison.Ordinal).Replace("_", "\\_", StringComparison.Ordinal);
        return begins ? $"{literal}%" : literal;
    }

    private static string Short(string text) => text.Length <= 50 ? text : text[..50];

    private static RpcException Wrong(string part, string what, string? reason = null) =>
        new(new Status(StatusCode.InvalidArgument, $"filter.{part}: {what}."), reason is null ? [] : new Metadata { { "reason", reason } });
}
