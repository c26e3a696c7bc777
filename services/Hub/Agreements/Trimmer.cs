using System.Buffers;
using System.Text;
using System.Text.Json;

namespace Intercommunalite.Hub.Agreements;

/// <summary>
/// Leaves of a JSON object what is allowed by name, and nothing else. A value is text, number, true, false, null, or a list of these;
/// an object where a value was expected is left out, since nobody allowed what is in it.
/// </summary>
internal sealed class Trimmer
{
    private readonly Field[] _fields;

    private Trimmer(Field[] fields) => _fields = fields;

    /// <summary>Allows values by their paths: <c>school</c>, <c>child.lastName</c>. Lists on the way are gone through item by item.</summary>
    public static Trimmer Of(IEnumerable<string> paths) => new(Fields(paths.Select(path => path.Split('.'))));

    /// <summary>What is allowed of a JSON object; <c>{}</c> when that is nothing. Of an object or a list inside, of which nothing is left, nothing is told.</summary>
    public string Trim(string json)
    {
        var bytes = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(json.Length));
        // What is left is no longer than the whole.
        var left = ArrayPool<byte>.Shared.Rent(bytes.Length);
        try
        {
            var whole = bytes.AsSpan(0, Encoding.UTF8.GetBytes(json, bytes));
            var reader = new Utf8JsonReader(whole);
            reader.Read();
            var output = new Output(left);
            return TryWriteObject(ref reader, whole, _fields, ref output) ? Encoding.UTF8.GetString(left.AsSpan(0, output.Length)) : "{}";
        }
        finally
        {
            // They may hold personal data.
            ArrayPool<byte>.Shared.Return(bytes, clearArray: true);
            ArrayPool<byte>.Shared.Return(left, clearArray: true);
        }
    }

    private static Field[] Fields(IEnumerable<string[]> paths) =>
        [.. paths.GroupBy(path => path[0]).Select(same => new Field(Encoding.UTF8.GetBytes(same.Key), same.Any(path => path.Length == 1) ? null : Fields(same.Select(path => path[1..]))))];

    // The reader is on the first token of what is to be an object, and is left on its last. False when nothing of it is left; nothing was written then.
    private static bool TryWriteObject(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, Field[] fields, ref Output output)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            reader.Skip();
            return false;
        }

        var (before, any) = (output.Length, false);
        output.Begin("{"u8);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var field = Find(ref reader, fields);
            reader.Read();
            if (field is null) reader.Skip();
            else any |= TryWriteField(ref reader, json, field.Value, ref output);
        }

        return output.End("}"u8, before, any);
    }

    private static Field? Find(ref Utf8JsonReader reader, Field[] fields)
    {
        foreach (var field in fields)
        {
            if (reader.ValueTextEquals(field.Name)) return field;
        }

        return null;
    }

    private static bool TryWriteField(ref Utf8JsonReader reader, ReadOnlySpan<byte> json, Field field, ref Output output)
    {
        var before = output.Length;
        output.Begin("\""u8, field.Name, "\":"u8);
        switch (reader.TokenType)
        {
            case JsonTokenType.StartArray:
                output.Append("["u8);
                // An empty list of values is a value like others.
                var (any, isEmpty) = (false, true);
                for (; reader.Read() && reader.TokenType != JsonTokenType.EndArray; isEmpty = false)
                {
                    if (field.Inner is { } inner) any |= TryWriteObject(ref reader, json, inner, ref output);
                    else if (reader.TokenType is JsonTokenType.StartObject or JsonTokenType.StartArray) reader.Skip();
                    else any = output.Begin(Value(ref reader, json));
                }

                return output.End("]"u8, before, any || (isEmpty && field.Inner is null));
            case JsonTokenType.StartObject when field.Inner is { } inner:
                return output.End([], before, TryWriteObject(ref reader, json, inner, ref output));
            case JsonTokenType.StartObject:
                reader.Skip();
                return output.End([], before, false);
            default:
                return output.End(Value(ref reader, json), before, field.Inner is null);
        }
    }

    // As it was written: nothing is escaped or rounded anew.
    private static ReadOnlySpan<byte> Value(ref Utf8JsonReader reader, ReadOnlySpan<byte> json) => json[(int)reader.TokenStartIndex..(int)reader.BytesConsumed];

    /// <summary>A field that is allowed.</summary>
    /// <param name="Name">Its name, in UTF-8. The contracts' names need no escape.</param>
    /// <param name="Inner">What is allowed of its object or objects; null when it is a value.</param>
    private readonly record struct Field(byte[] Name, Field[]? Inner);

    /// <summary>What is left so far; what turns out to be empty is taken back.</summary>
    private ref struct Output(Span<byte> left)
    {
        private readonly Span<byte> _left = left;

        public int Length { get; private set; }

        /// <summary>The next item of an object or a list, or its beginning.</summary>
        public bool Begin(scoped ReadOnlySpan<byte> text)
        {
            if (Length > 0 && _left[Length - 1] is not ((byte)'{' or (byte)'[' or (byte)':')) Append(","u8);
            Append(text);
            return true;
        }

        public void Begin(scoped ReadOnlySpan<byte> quote, scoped ReadOnlySpan<byte> name, scoped ReadOnlySpan<byte> unquote)
        {
            Begin(quote);
            Append(name);
            Append(unquote);
        }

        public void Append(scoped ReadOnlySpan<byte> text)
        {
            text.CopyTo(_left[Length..]);
            Length += text.Length;
        }

        /// <summary>Its end; or, when nothing is in it, as if it had not begun.</summary>
        public bool End(scoped ReadOnlySpan<byte> text, int before, bool any)
        {
            if (any) Append(text);
            else Length = before;
            return any;
        }
    }
}
