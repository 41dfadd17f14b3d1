#include "eval/longbench/longbench_tasks.h"

#include <algorithm>
#include <array>

#include "base/fail.h"

namespace thinkey::eval {
namespace {

using enum LongBenchMetric;
using enum LongBenchGroup;

constexpr std::string_view kStory =
    "Below is a story, followed by a question about it.\n\n{context}\n\nAnswer the question about the story "
    "with a short phrase and nothing else.\n\nQuestion: {input}\n\nAnswer:";
constexpr std::string_view kArticle =
    "Below is a scientific article, followed by a question about it.\n\n{context}\n\nAnswer the question "
    "from "
    "the article with a short phrase or sentence. Answer \"yes\" or \"no\" where it asks for that, and "
    "\"unanswerable\" where the article does not say. Do not explain.\n\nQuestion: {input}\n\nAnswer:";
constexpr std::string_view kText =
    "Below is a text, followed by a question about it.\n\n{context}\n\nAnswer the question from the text, "
    "with "
    "the answer and nothing else.\n\nQuestion: {input}\nAnswer:";
constexpr std::string_view kTextZh =
    "下面是一篇文章，后面有一个关于它的问题。\n\n{context}\n\n请根据文章回答问题，只写答案。\n\n问题：{input}"
    "\n回答：";
constexpr std::string_view kPassages =
    "Below are several passages, followed by a question about them.\n\n{context}\n\nAnswer the question from "
    "the passages, with the answer and nothing else.\n\nQuestion: {input}\nAnswer:";
constexpr std::string_view kPassagesZh =
    "下面是几篇文章，后面有一个问题。\n\n{context}\n\n请根据这些文章回答问题。\n\n问题：{input}\n回答：";
constexpr std::string_view kReport =
    "Below is a government report.\n\n{context}\n\nSummarise the report on one page.\n\nSummary:";
constexpr std::string_view kMeeting =
    "Below is the transcript of a meeting, followed by a query about it.\n\n{context}\n\nAnswer the query "
    "from "
    "the transcript in one or more sentences.\n\nQuery: {input}\nAnswer:";
constexpr std::string_view kNews =
    "Below are several news articles.\n\n{context}\n\nSummarise all of them on one page.\n\nSummary:";
constexpr std::string_view kMeetingZh = "下面是一次会议的记录。\n\n{context}\n\n请总结会议的内容。\n\n总结：";
constexpr std::string_view kQuestionType =
    "State the type of the last question, as the examples before it do.\n\n{context}\n{input}";
constexpr std::string_view kTrivia =
    "Answer the last question from its passage, as the examples before it do, with the answer and nothing "
    "else.\n\n{context}\n\n{input}";
constexpr std::string_view kDialogue =
    "Summarise the last dialogue in a few short sentences, as the examples before it "
    "do.\n\n{context}\n\n{input}";
constexpr std::string_view kNewsTypeZh = "请像前面的例子一样，写出最后一条新闻的类别。\n\n{context}\n{input}";
constexpr std::string_view kCount =
    "Below are numbered paragraphs, some of which occur more than once.\n\n{context}\n\nHow many different "
    "paragraphs are there? Answer with the number and nothing else.\n\nAnswer: ";
constexpr std::string_view kAbstract =
    "Below are numbered paragraphs, followed by an abstract of one of them.\n\n{context}\n\nAbstract: "
    "{input}\n\nWhich paragraph is the abstract of? Answer in the form \"Paragraph 1\".\n\nAnswer: ";
constexpr std::string_view kAbstractZh =
    "下面是若干带编号的段落，以及其中一个段落的摘要。\n\n{context}\n\n摘要：{input}\n\n摘要出自哪个段落？"
    "请按\"段落1\"的格式回答。\n\n回答：";
constexpr std::string_view kCode = "Complete the code with its next line.\n{context}";
constexpr std::string_view kRepository = "Complete the code with its next line.\n{context}{input}";

constexpr std::array<LongBenchTask, 21> kTasks = {{
    {.name = "narrativeqa", .group = SingleDocument, .metric = QaF1, .max_new_tokens = 128, .prompt = kStory},
    {.name = "qasper", .group = SingleDocument, .metric = QaF1, .max_new_tokens = 128, .prompt = kArticle},
    {.name = "multifieldqa_en",
     .group = SingleDocument,
     .metric = QaF1,
     .max_new_tokens = 64,
     .prompt = kText},
    {.name = "multifieldqa_zh",
     .group = SingleDocument,
     .metric = QaF1Zh,
     .english = false,
     .max_new_tokens = 64,
     .prompt = kTextZh},
    {.name = "hotpotqa", .group = MultiDocument, .metric = QaF1, .max_new_tokens = 32, .prompt = kPassages},
    {.name = "2wikimqa", .group = MultiDocument, .metric = QaF1, .max_new_tokens = 32, .prompt = kPassages},
    {.name = "musique", .group = MultiDocument, .metric = QaF1, .max_new_tokens = 32, .prompt = kPassages},
    {.name = "dureader",
     .group = MultiDocument,
     .metric = RougeLZh,
     .english = false,
     .max_new_tokens = 128,
     .prompt = kPassagesZh},
    {.name = "gov_report", .group = Summary, .metric = RougeL, .max_new_tokens = 512, .prompt = kReport},
    {.name = "qmsum", .group = Summary, .metric = RougeL, .max_new_tokens = 512, .prompt = kMeeting},
    {.name = "multi_news", .group = Summary, .metric = RougeL, .max_new_tokens = 512, .prompt = kNews},
    {.name = "vcsum",
     .group = Summary,
     .metric = RougeLZh,
     .english = false,
     .max_new_tokens = 512,
     .prompt = kMeetingZh},
    {.name = "trec",
     .group = FewShot,
     .metric = Classification,
     .chat = false,
     .first_line = true,
     .max_new_tokens = 64,
     .prompt = kQuestionType},
    {.name = "triviaqa",
     .group = FewShot,
     .metric = QaF1,
     .chat = false,
     .first_line = true,
     .max_new_tokens = 32,
     .prompt = kTrivia},
    {.name = "samsum",
     .group = FewShot,
     .metric = RougeL,
     .chat = false,
     .first_line = true,
     .max_new_tokens = 128,
     .prompt = kDialogue},
    {.name = "lsht",
     .group = FewShot,
     .metric = Classification,
     .english = false,
     .chat = false,
     .first_line = true,
     .max_new_tokens = 64,
     .prompt = kNewsTypeZh},
    {.name = "passage_count", .group = Synthetic, .metric = Count, .max_new_tokens = 32, .prompt = kCount},
    {.name = "passage_retrieval_en",
     .group = Synthetic,
     .metric = Retrieval,
     .max_new_tokens = 32,
     .prompt = kAbstract},
    {.name = "passage_retrieval_zh",
     .group = Synthetic,
     .metric = RetrievalZh,
     .english = false,
     .max_new_tokens = 32,
     .prompt = kAbstractZh},
    {.name = "lcc",
     .group = Code,
     .metric = CodeSimilarity,
     .chat = false,
     .max_new_tokens = 64,
     .prompt = kCode},
    {.name = "repobench-p",
     .group = Code,
     .metric = CodeSimilarity,
     .chat = false,
     .max_new_tokens = 64,
     .prompt = kRepository},
}};

std::string_view first_line(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
  return text.substr(0, text.find('\n'));
}

double compare(const LongBenchTask& task, std::string_view prediction, std::string_view reference,
               std::span<const std::string> classes, const ScoreOptions& options) {
  switch (task.metric) {
    case QaF1:
      return qa_f1(prediction, reference);
    case QaF1Zh:
      return qa_f1_zh(prediction, reference, options.segmenter);
    case RougeL:
      return rouge_l(prediction, reference);
    case RougeLZh:
      return rouge_l_zh(prediction, reference, options.segmenter);
    case Classification:
      return classification_score(prediction, reference, classes);
    case Retrieval:
      return retrieval_score(prediction, reference);
    case RetrievalZh:
      return retrieval_score_zh(prediction, reference);
    case Count:
      return count_score(prediction, reference);
    case CodeSimilarity:
      return code_similarity(prediction, reference, options.edit_ratio);
  }
  return 0.0;
}

}  // namespace

std::span<const LongBenchTask> longbench_tasks() noexcept { return kTasks; }

const LongBenchTask& longbench_task(std::string_view name) {
  const std::string_view base = name.ends_with("_e") ? name.substr(0, name.size() - 2) : name;
  std::string names;
  for (const LongBenchTask& task : kTasks) {
    if (task.name == base) return task;
    names += (names.empty() ? "" : ", ") + std::string(task.name);
  }
  fail_usage("unknown LongBench task \"{}\"; choose from {}", name, names);
}

std::string_view group_name(LongBenchGroup group) noexcept {
  switch (group) {
    case SingleDocument:
      return "single-document QA";
    case MultiDocument:
      return "multi-document QA";
    case Summary:
      return "summarisation";
    case FewShot:
      return "few-shot";
    case Synthetic:
      return "synthetic";
    case Code:
      return "code";
  }
  return "";
}

std::string_view metric_name(LongBenchMetric metric) noexcept {
  switch (metric) {
    case QaF1:
      return "QA F1";
    case QaF1Zh:
      return "QA F1 (Chinese)";
    case RougeL:
      return "ROUGE-L";
    case RougeLZh:
      return "ROUGE-L (Chinese)";
    case Classification:
      return "classification";
    case Retrieval:
      return "retrieval";
    case RetrievalZh:
      return "retrieval (Chinese)";
    case Count:
      return "count";
    case CodeSimilarity:
      return "code similarity";
  }
  return "";
}

double longbench_score(const LongBenchTask& task, std::string_view prediction,
                       std::span<const std::string> references, std::span<const std::string> classes,
                       const ScoreOptions& options) {
  if (task.first_line) prediction = first_line(prediction);
  double best = 0.0;
  for (const std::string& reference : references) {
    best = std::max(best, compare(task, prediction, reference, classes, options));
  }
  return best;
}

std::string_view length_bucket(std::size_t length) noexcept {
  if (length < 4000) return "0-4k";
  return length < 8000 ? "4-8k" : "8k+";
}

}  // namespace thinkey::eval
