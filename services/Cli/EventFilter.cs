using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts.Feed.V1;

namespace Intercommunalite.Cli;

/// <summary>The options that say which events are meant: of the feed, of a subscription, of a replay.</summary>
internal sealed class EventFilter
{
    /// <summary>Options of a command; one that takes no subjects and facts has the first two alone.</summary>
    public EventFilter(Command command, bool bySubjectAndFact = true)
    {
        command.Add(Types);
        command.Add(Communes);
        if (!bySubjectAndFact) return;
        command.Add(Subjects);
        command.Add(Facts);
    }

    /// <summary>Types of events.</summary>
    public Option<string[]> Types { get; } = Many("--type", "TYPE", "Only these types; a prefix may end with '*'.");

    /// <summary>Communes.</summary>
    public Option<string[]> Communes { get; } = Many("--commune", "CODE", "Only events of these communes.");

    private Option<string[]> Subjects { get; } = Many("--subject", "SUBJECT", "Only of these subjects; a prefix may end with '*'.");

    private Option<Fact[]> Facts { get; } = new("--fact")
    {
        Description = "Only events whose field of data has one of these values; given more than once, all must hold.",
        HelpName = "FIELD=VALUE[,VALUE…]",
        AllowMultipleArgumentsPerToken = true,
        CustomParser = result => [.. result.Tokens.Select(token => OfText(result, token.Value))],
        DefaultValueFactory = _ => [],
    };

    /// <summary>What was given, as gRPC takes it.</summary>
    public Filter Of(ParseResult parsed) => new()
    {
        Types_ = { parsed.GetValue(Types) ?? [] },
        Communes = { parsed.GetValue(Communes) ?? [] },
        Subjects = { parsed.GetValue(Subjects) ?? [] },
        Facts = { parsed.GetValue(Facts) ?? [] },
    };

    /// <summary>The same as the HTTP interfaces take it.</summary>
    public JsonObject JsonOf(ParseResult parsed)
    {
        var given = Of(parsed);
        return new()
        {
            ["types"] = Texts(given.Types_),
            ["communes"] = Texts(given.Communes),
            ["subjects"] = Texts(given.Subjects),
            ["facts"] = new JsonArray([.. given.Facts.Select(fact => new JsonObject { ["field"] = fact.Field, ["values"] = Texts(fact.Values) })]),
        };
    }

    private static JsonArray Texts(IEnumerable<string> values) => new([.. values.Select(value => JsonValue.Create(value))]);

    private static Option<string[]> Many(string name, string value, string description) => new(name) { Description = description, HelpName = value, AllowMultipleArgumentsPerToken = true };

    private static Fact OfText(ArgumentResult result, string text)
    {
        if (text.IndexOf('=', StringComparison.Ordinal) is > 0 and var sign) return new() { Field = text[..sign], Values = { text[(sign + 1)..].Split(',') } };
        result.AddError($"'{text}' is not a fact such as residenceCommune=35085,35337.");
        return new();
    }
}
