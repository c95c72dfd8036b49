using System.CommandLine;
using StableDiffusion.Ilgpu;
using StableDiffusion.Ilgpu.Benchmarks.Serving;
using StableDiffusion.Ilgpu.Peers.Torch;

var model = new Option<string>("--model") { Description = "Synthetic model", DefaultValueFactory = _ => "sd15" };
var size = new Option<int>("--size") { Description = "Width and height of the picture in pixels", DefaultValueFactory = _ => 512 };
var cores = new Option<int>("--cores") { Description = "Threads of libtorch", DefaultValueFactory = _ => Environment.ProcessorCount };
var layout = new Option<string>("--layout") { Description = "How pictures lie in memory", DefaultValueFactory = _ => "channels-last" };
layout.AcceptOnlyFromAmong("channels-last", "default");
var root = new RootCommand("libtorch as a peer of the comparison: does a model's work piece by piece, as lines of standard input ask.")
{
    model, size, cores, layout,
};
root.SetAction(parsed =>
{
    var chosen = parsed.GetValue(layout) == "default" ? MemoryLayout.Default : MemoryLayout.ChannelsLast;
    using var served = TorchModel.Open(parsed.GetValue(model)!, parsed.GetValue(size), parsed.GetValue(cores), chosen);
    Server.Run(served, Console.In, Console.Out);
});
try
{
    return root.Parse(args).Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
}
catch (StableDiffusionException e)
{
    Console.Error.WriteLine($"error: {e.Message}");
    return 1;
}
