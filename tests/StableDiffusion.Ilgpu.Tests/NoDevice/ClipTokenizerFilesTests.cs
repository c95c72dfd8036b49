using System.Text;
using StableDiffusion.Ilgpu.Text;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Damaged tokenizer files give one clear line each.</summary>
public sealed class ClipTokenizerFilesTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("clip-tokenizer-tests-").FullName;

    private string VocabularyPath => Path.Combine(folder, "vocab.json");

    private string MergesPath => Path.Combine(folder, "merges.txt");

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void A_small_vocabulary_works()
    {
        Write(Vocabulary("in", "ing</w>"), "#version: 0.2\r\ni n\r\nin g</w>\r\n");
        var tokenizer = ClipTokenizer.Load(VocabularyPath, MergesPath);
        Assert.Equal(516, tokenizer.VocabularySize);
        Assert.Equal([512, .. new[] { "n", "g</w>" }.Select(letter => tokenizer.Find(letter)!.Value)], tokenizer.Encode("inng"));
        Assert.Equal([513, 514, 515], tokenizer.Encode("ing <|startoftext|> <|endoftext|>"));
    }

    [Fact]
    public void Escaped_names_are_the_same_tokens()
    {
        Write(Vocabulary("in", "ing</w>").Replace("\"in\"", "\"\\u0069n\""), "i n\nin g</w>");
        Assert.Equal(512, ClipTokenizer.Load(VocabularyPath, MergesPath).Find("in"));
    }

    [Fact]
    public void Missing_vocabulary()
    {
        File.WriteAllText(MergesPath, "");
        Expect(VocabularyPath, "does not exist");
    }

    [Fact]
    public void Missing_merges()
    {
        File.WriteAllText(VocabularyPath, Vocabulary());
        Expect(MergesPath, "does not exist");
    }

    [Fact]
    public void A_folder_in_place_of_a_file()
    {
        Directory.CreateDirectory(VocabularyPath);
        Expect(VocabularyPath, "cannot be read");
    }

    [Theory]
    [InlineData("", "not valid JSON")]
    [InlineData("weights", "not valid JSON")]
    [InlineData("{\"a\": 0", "not valid JSON")]
    [InlineData("{\"a\": 0} x", "not valid JSON")]
    [InlineData("{\"\\ud800\": 0}", "not valid JSON")]
    [InlineData("[1, 2]", "not a JSON object")]
    [InlineData("{\"a\": \"0\"}", "the id of the token \"a\" is not an integer")]
    [InlineData("{\"a\": 0.5}", "the id of the token \"a\" is not an integer")]
    [InlineData("{\"a\": 4294967296}", "the id of the token \"a\" is not an integer")]
    [InlineData("{\"a\": {}}", "the id of the token \"a\" is not an integer")]
    [InlineData("{\"a\": 0, \"a\": 1}", "the token \"a\" stands there twice")]
    [InlineData("{\"a\": 1, \"\\u0007b\": 1}", "the tokens \"a\" and \"?b\" both have the id 1")]
    [InlineData("{\"a\": 0, \"b\": 2}", "the token \"b\" has the id 2; the ids of 2 tokens are 0 to 1")]
    [InlineData("{\"a\": -1}", "the token \"a\" has the id -1")]
    [InlineData("{}", "lacks the token")]
    public void Damaged_vocabulary(string json, string message)
    {
        Write(json, "");
        Expect(VocabularyPath, message);
    }

    [Fact]
    public void Text_that_is_not_UTF8()
    {
        File.WriteAllBytes(VocabularyPath, [.. "{\""u8, 0xFF, .. "\": 0}"u8]);
        File.WriteAllText(MergesPath, "");
        Expect(VocabularyPath, "not valid JSON");
    }

    [Theory]
    [InlineData("<|startoftext|>")]
    [InlineData("<|endoftext|>")]
    [InlineData("\u0120")]
    [InlineData("z</w>")]
    public void Vocabulary_without_a_token_that_has_to_be_there(string token)
    {
        // Renamed, so that the ids stay without a gap.
        Write(Vocabulary().Replace($"\"{token}\"", "\"something else\""), "");
        Expect(VocabularyPath, $"lacks the token \"{token}\"");
    }

    [Theory]
    [InlineData("i n\ning</w>", "line 2 is not two tokens parted by a space: \"ing</w>\"")]
    [InlineData("i n g</w>", "line 1 is not two tokens")]
    [InlineData("#version: 0.2\n i n", "line 2 is not two tokens")]
    [InlineData("i ", "line 1 is not two tokens")]
    [InlineData("i n\nxyz n", "line 2, \"xyz n\": the vocabulary lacks")]
    [InlineData("i xyz", "line 1, \"i xyz\": the vocabulary lacks")]
    [InlineData("n i", "line 1, \"n i\": the vocabulary lacks")]
    [InlineData("i n\nin g</w>\ni n", "line 3 repeats the merge \"i n\"")]
    [InlineData("\u0000\u0001PK\u0003 is an archive with a rather long first line", "is not two tokens parted by a space: \"??PK? is an")]
    public void Damaged_merges(string merges, string message)
    {
        Write(Vocabulary("in", "ing</w>"), merges);
        Expect(MergesPath, message);
    }

    private void Expect(string path, string message)
    {
        var error = Assert.Throws<StableDiffusionException>(() => ClipTokenizer.Load(VocabularyPath, MergesPath));
        Assert.StartsWith(path, error.Message, StringComparison.Ordinal);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
        Assert.True(error.Message.Length < path.Length + 200, error.Message);
    }

    private void Write(string vocabulary, string merges)
    {
        File.WriteAllText(VocabularyPath, vocabulary);
        File.WriteAllText(MergesPath, merges);
    }

    // All letters, the given tokens from id 512, and the two special ones.
    private static string Vocabulary(params string[] merged)
    {
        string[] letters = [.. ByteLetters.Letters.Select(letter => letter.ToString())];
        string[] tokens = [.. letters, .. letters.Select(letter => letter + "</w>"), .. merged, "<|startoftext|>", "<|endoftext|>"];
        var json = new StringBuilder("{");
        for (int id = 0; id < tokens.Length; id++)
        {
            string escaped = tokens[id].Replace("\\", "\\\\").Replace("\"", "\\\"");
            json.Append(id == 0 ? "" : ", ").Append('"').Append(escaped).Append("\": ").Append(id);
        }

        return json.Append('}').ToString();
    }
}
