using System.Text.Json.Nodes;
using StableDiffusion.Ilgpu.Text;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Textual inversion and custom diffusion as whole models: tokens in the tokenizer's folder, rows in the text encoder's table.</summary>
public sealed class AddedTokensTests : IDisposable
{
    private const int First = 49408, Rows = 2;

    private const string Listed = """{"<cat-toy>":49408,"<cat-toy>_1":49409,"<|endoftext|>":49407}""";

    private const string Decoder =
        """{"pad_token":"!","added_tokens_decoder":{"0":{"content":"!"},"49406":{"content":"<|startoftext|>"},"49408":{"content":"<cat-toy>","special":false},"49409":{"content":"<cat-toy>_1"}}}""";

    private readonly TemporaryFolder folder = new();

    private string Model => folder["model"];

    [Theory]
    [InlineData("added_tokens.json", Listed)]
    [InlineData("tokenizer_config.json", Decoder)]
    public void Listed_tokens_are_the_tables_last_rows(string file, string json)
    {
        WriteModel(file, json);
        AssertTokens(Model);
        using (var model = LoadedModel.Open(Model))
        {
            model.Save(folder["written"], null, TestContext.Current.CancellationToken);
        }

        Assert.True(File.Exists(Path.Combine(folder["written"], "tokenizer", "added_tokens.json")));
        AssertTokens(folder["written"]);
    }

    /// <summary>The newer list is looked at where the older one is missing.</summary>
    [Fact]
    public void The_file_of_its_own_goes_before_the_configuration()
    {
        WriteModel("added_tokens.json", """{"<new1>":49408}""");
        File.WriteAllText(Path.Combine(Model, "tokenizer", "tokenizer_config.json"), Decoder);
        using var model = LoadedModel.Open(Model);
        Assert.Equal([First], Ids(model, "<new1>"));
        Assert.Equal(ClipTokenizer.BuiltIn.Encode("<cat-toy>"), Ids(model, "<cat-toy>"));
    }

    /// <summary>Start and end take a place each of the 77.</summary>
    [Fact]
    public void A_token_has_no_more_vectors_than_a_prompt_has_room_for()
    {
        using var model = LoadedModel.Open(ReferenceData.PathOf("tiny-sd15"));
        var config = model.TextConfig with { Vocabulary = First + 76 };
        AddedTokens List(int count) => new("the list", Enumerable.Range(0, count).ToDictionary(i => i == 0 ? "<a>" : $"<a>_{i}", i => First + i));
        Assert.Equal(75, StoredTokens.Of(List(75), ClipTokenizer.BuiltIn, config)[0].Ids.Length);
        WeightsTestFiles.Refused(
            () => StoredTokens.Of(List(76), ClipTokenizer.BuiltIn, config), "the list: the token '<a>' has 76 vectors; a prompt has room for 75");
    }

    [Fact]
    public void Embeddings_follow()
    {
        WriteModel("added_tokens.json", Listed);
        var width = Width();
        string[] files =
        [
            new TensorFiles().Add("emb_params", [2, width], new float[2 * width]).Write(folder["style-x.safetensors"]),
            new TensorFiles().Add("<Cat-Toy>", [width], new float[width]).Write(folder["other.safetensors"]),
        ];
        using (var model = LoadedModel.Open(new ModelOptions { Model = Model, Embeddings = files[..1] }))
        {
            Assert.Equal([First, First + 1, First + 2, First + 3], Ids(model, "<cat-toy> style-x"));
            Assert.Equal(First + Rows + 2, model.TextConfig.Vocabulary);
        }

        WeightsTestFiles.Refused(
            () =>
            {
                using var model = LoadedModel.Open(new ModelOptions { Model = Model, Embeddings = files });
                model.Tokenize("");
            },
            files[1], "'<Cat-Toy>' already stands for a token of the model");
    }

    [Theory]
    [InlineData("added_tokens.json", """{"<cat-toy>":49410}""", "'<cat-toy>' has the id 49410", "49408 tokens", "49410 rows")]
    [InlineData("added_tokens.json", """{"<cat-toy>":5}""", "'<cat-toy>' has the id 5")]
    [InlineData("added_tokens.json", """{"<|endoftext|>":49406}""", "'<|endoftext|>' has the id 49406")]
    [InlineData("added_tokens.json", """{"<cat-toy>":-1}""", "'<cat-toy>' has the id -1")]
    [InlineData("added_tokens.json", """{"<a>":49408,"<b>":49408}""", "'<a>' and '<b>' both have the id 49408")]
    [InlineData("added_tokens.json", """{"<cat-toy>":"49408"}""", "the id of the token '<cat-toy>' is \"49408\", not an integer")]
    [InlineData("added_tokens.json", """{"":49408}""", "49408 has 0 letters")]
    [InlineData("added_tokens.json", "[]", "JSON")]
    [InlineData("tokenizer_config.json", """{"added_tokens_decoder":[]}""", "added_tokens_decoder is []")]
    [InlineData("tokenizer_config.json", """{"added_tokens_decoder":{"x":{"content":"<a>"}}}""", "the id 'x', not an integer")]
    [InlineData("tokenizer_config.json", """{"added_tokens_decoder":{"49408":{"text":"<a>"}}}""", "{\"text\":\"<a>\"} for the id '49408'")]
    [InlineData("tokenizer_config.json", """{"added_tokens_decoder":{"49408":{"content":"<a>"},"49409":{"content":"<a>"}}}""", "'<a>' has the ids 49408 and 49409")]
    public void Lists_that_do_not_fit_are_refused(string file, string json, params string[] parts)
    {
        WriteModel(file, json);
        WeightsTestFiles.Refused(
            () =>
            {
                using var model = LoadedModel.Open(Model);
                model.Tokenize("");
            },
            [Path.Combine(Model, "tokenizer", file), .. parts]);
    }

    public void Dispose() => folder.Dispose();

    private static int[] Ids(LoadedModel model, string prompt)
    {
        var end = Array.IndexOf(model.Tokenize(prompt), ClipTokenizer.BuiltIn.EndOfText);
        return model.Tokenize(prompt)[1..end];
    }

    private static void AssertTokens(string path)
    {
        using var model = LoadedModel.Open(path);
        Assert.Equal([.. ClipTokenizer.BuiltIn.Encode("a"), First, First + 1], Ids(model, "a <cat-toy>"));
        Assert.Equal([First + 1, .. ClipTokenizer.BuiltIn.Encode("cat")], Ids(model, "<CAT-toy>_1 cat"));
        using var weights = model.OpenWeights(StableDiffusion.Ilgpu.Weights.ModelPart.TextEncoder);
        Assert.Equal(First + Rows, weights.Tensors["text_model.embeddings.token_embedding.weight"].Shape[0]);
    }

    private static int Width()
    {
        using var model = LoadedModel.Open(ReferenceData.PathOf("tiny-sd15"));
        return model.TextConfig.Hidden;
    }

    /// <summary>A small model with two rows more than the vocabulary, and a list of tokens.</summary>
    private void WriteModel(string file, string json)
    {
        var width = Width();
        var rows = new TensorFiles().Add("emb_params", [Rows, width], [.. Enumerable.Range(0, Rows * width).Select(i => (float)i)]);
        var options = new ModelOptions { Model = ReferenceData.PathOf("tiny-sd15"), Embeddings = [rows.Write(folder["rows.safetensors"])] };
        using (var model = LoadedModel.Open(options))
        {
            Assert.Equal(First + Rows, model.TextConfig.Vocabulary);
            model.Save(Model, null, TestContext.Current.CancellationToken);
        }

        var path = Path.Combine(Model, "text_encoder", "config.json");
        var config = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        config["vocab_size"] = First + Rows;
        File.WriteAllText(path, config.ToJsonString());
        File.WriteAllText(Path.Combine(Model, "tokenizer", file), json);
    }
}
