using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// Reads a tokenizer folder's two files: <c>vocab.json</c>, an object from token to id, and <c>merges.txt</c>, after a version line one
/// merge a line in the order of rank, its two tokens parted by a space.
/// </summary>
internal static class VocabularyFiles
{
    /// <summary>About twice what CLIP's files have; larger ones must not decide how much is allocated.</summary>
    private const long LargestVocabulary = 2_000_000, LargestMerges = 1_000_000;

    public static BytePairTable Read(string vocabularyPath, string mergesPath)
    {
        var tokens = ReadTokens(vocabularyPath);
        int? Find(string token) => tokens.Find(Encoding.UTF8.GetBytes(token));
        int Required(string token) =>
            Find(token) ?? throw new StableDiffusionException($"{vocabularyPath}: the vocabulary lacks the token \"{token}\"");

        var letters = new int[256];
        var lastLetters = new int[256];
        for (int value = 0; value < 256; value++)
        {
            letters[value] = Required(ByteLetters.Letters[value].ToString());
            lastLetters[value] = Required(ByteLetters.Letters[value] + BytePairTable.EndOfWord);
        }

        return new BytePairTable(tokens.Count, ReadMerges(mergesPath, tokens), Find)
        {
            StartOfText = Required(BytePairTable.StartOfTextToken),
            EndOfText = Required(BytePairTable.EndOfTextToken),
            Letters = letters,
            LastLetters = lastLetters,
        };
    }

    private static TokenIndex ReadTokens(string path)
    {
        TokenIndex tokens;
        try
        {
            tokens = ParseTokens(ReadFile(path, LargestVocabulary), path);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException) // the latter for text that is not UTF-8
        {
            throw new StableDiffusionException($"{path}: not valid JSON: {e.Message.ReplaceLineEndings(" ")}", e);
        }

        var entries = new int[tokens.Count]; // 1 + the entry that has the id
        for (int entry = 0; entry < tokens.Count; entry++)
        {
            int id = tokens.Ids[entry];
            string Name(int other) => Quote(tokens.TextOf(other));
            if (id < 0 || id >= entries.Length)
            {
                throw new StableDiffusionException(
                    $"{path}: the token {Name(entry)} has the id {NumberText.Of(id)}; the ids of {entries.Length} tokens are 0 to {entries.Length - 1}");
            }

            if (entries[id] != 0)
            {
                throw new StableDiffusionException($"{path}: the tokens {Name(entries[id] - 1)} and {Name(entry)} both have the id {id}");
            }

            entries[id] = entry + 1;
        }

        return tokens;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static TokenIndex ParseTokens(byte[] json, string path)
    {
        // Every token has its two quotation marks, a colon, a number and a comma or bracket; no text is longer than it is in the file.
        var tokens = new TokenIndex(Math.Min(json.AsSpan().Count((byte)'"') / 2, json.Length / 5), json.Length);
        var reader = new Utf8JsonReader(json);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new StableDiffusionException($"{path}: not a JSON object of tokens and their ids");
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            int length = reader.CopyString(tokens.NextText);
            reader.Read();
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt32(out int id))
            {
                throw new StableDiffusionException($"{path}: the id of the token {Quote(tokens.NextText[..length])} is not an integer");
            }

            if (!tokens.TryAdd(length, id))
            {
                throw new StableDiffusionException($"{path}: the token {Quote(tokens.NextText[..length])} stands there twice");
            }
        }

        reader.Read(); // throws where anything follows the object
        return tokens;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static MergeIndex ReadMerges(string path, TokenIndex tokens)
    {
        ReadOnlySpan<byte> rest = ReadFile(path, LargestMerges);

        // Every merge has two letters, a space and the end of the line, but perhaps the last one's.
        var merges = new MergeIndex(Math.Min(rest.Count((byte)'\n') + 1, (rest.Length + 1) / 4));
        for (int number = 1; !rest.IsEmpty; number++)
        {
            int end = rest.IndexOf((byte)'\n');
            var line = end < 0 ? rest : rest[..end];
            rest = end < 0 ? default : rest[(end + 1)..];
            if (line.EndsWith("\r"u8))
            {
                line = line[..^1];
            }

            if (line.IsEmpty || (number == 1 && line.StartsWith("#version"u8)))
            {
                continue;
            }

            int space = line.IndexOf((byte)' ');
            if (space <= 0 || space == line.Length - 1 || line[(space + 1)..].Contains((byte)' '))
            {
                throw new StableDiffusionException($"{path}: line {number} is not two tokens parted by a space: {Quote(line)}");
            }

            var left = line[..space];
            var right = line[(space + 1)..];
            if (tokens.Find(left) is not { } leftId || tokens.Find(right) is not { } rightId || tokens.Find(left, right) is not { } merged)
            {
                throw new StableDiffusionException(
                    $"{path}: line {number}, {Quote(line)}: the vocabulary lacks one of the two tokens or what they make");
            }

            if (!merges.TryAdd(leftId, rightId, merged))
            {
                throw new StableDiffusionException($"{path}: line {number} repeats the merge {Quote(line)}");
            }
        }

        return merges;
    }

    private static byte[] ReadFile(string path, long largest)
    {
        try
        {
            return BoundedFile.Read(path, largest, "a tokenizer's file");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new StableDiffusionException($"{path}: the tokenizer's file does not exist", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"{path}: the tokenizer's file cannot be read: {e.Message}", e);
        }
    }

    // The files are foreign: what is quoted from them must neither break the line nor fill the screen.
    private static string Quote(ReadOnlySpan<byte> utf8)
    {
        const int limit = 40;
        string text = Encoding.UTF8.GetString(utf8);
        var quoted = new StringBuilder("\"");
        foreach (var rune in text.Length > limit ? text[..limit].EnumerateRunes() : text.EnumerateRunes())
        {
            quoted.Append(Rune.IsControl(rune) ? "?" : rune.ToString());
        }

        return quoted.Append(text.Length > limit ? "...\"" : "\"").ToString();
    }
}
